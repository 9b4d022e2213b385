from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from taskgate.errors import SettingsError
from taskgate.store.address import StoreAddress
from tests.servers.certificates import certificate


@pytest.mark.parametrize(
    ("text", "driver"),
    [
        ("sqlite:////var/lib/taskgate/store.sqlite", "sqlite+aiosqlite"),
        ("sqlite+aiosqlite:///store.sqlite", "sqlite+aiosqlite"),
        ("postgresql://taskgate:secret@db/taskgate", "postgresql+asyncpg"),
        ("postgres://db/taskgate", "postgresql+asyncpg"),
        ("postgresql+asyncpg://db/taskgate", "postgresql+asyncpg"),
    ],
)
def test_whatever_names_the_driver(text: str, driver: str) -> None:
    address = StoreAddress.parse(text)
    assert address.url.drivername == driver
    assert address.connect == {}


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require"])
def test_modes_that_check_nothing_are_the_drivers(mode: str) -> None:
    address = StoreAddress.parse(f"postgresql://db/taskgate?sslmode={mode}")
    assert address.connect == {"ssl": mode}
    assert not address.url.query


@pytest.mark.parametrize(("options", "names"), [("sslmode=verify-full", True), ("sslmode=verify-ca", False)])
def test_modes_that_check_use_the_systems_authorities_or_the_named_ones(
    options: str, names: bool, tmp_path: Path
) -> None:
    file, _ = certificate(tmp_path)
    for more in ("", f"&sslrootcert={file}"):
        context = StoreAddress.parse(f"postgresql://db/taskgate?{options}{more}").connect["ssl"]
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname is names


def test_a_root_certificate_alone_means_that_all_is_checked(tmp_path: Path) -> None:
    file, _ = certificate(tmp_path)
    context = StoreAddress.parse(f"postgresql://db/taskgate?sslrootcert={file}").connect["ssl"]
    assert context.check_hostname


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://host/db", "use sqlite or postgresql"),
        ("sqlite://", "would forget"),
        ("sqlite:///:memory:", "would forget"),
        ("no url: hunter2", "not a database URL"),
        ("postgresql://u:hunter2@db/x?bogus=1&target_session_attrs=any", "bogus, target_session_attrs"),
        ("postgresql://u:hunter2@db/x?sslmode=yes", "none of disable"),
        ("postgresql://u:hunter2@db/x?sslrootcert=/nowhere/ca.pem", "/nowhere/ca.pem: No such file"),
        (f"postgresql://u:hunter2@db/x?sslrootcert={__file__}", "not a certificate"),
    ],
)
def test_what_is_unusable_is_said_without_the_password(url: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as refused:
        StoreAddress.parse(url)
    assert "hunter2" not in str(refused.value)
