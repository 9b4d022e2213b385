from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from taskgate.errors import SettingsError
from taskgate.secrets import Secret, SecretFault, SecretSources, sources


class Leaky:
    async def fetch(self, name: str) -> Secret:
        raise ValueError(f"could not use hunter2 for {name}")


class Vault:
    async def fetch(self, name: str) -> Secret:
        return Secret(f"from vault {name}")


async def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERS_PASSWORD", "hunter2 \n")
    assert (await SecretSources().fetch("env:ORDERS_PASSWORD")).reveal() == "hunter2 \n"
    monkeypatch.setenv("ORDERS_PASSWORD", "")
    for name in ("ORDERS_PASSWORD", "NOT_THERE"):
        with pytest.raises(SecretFault, match=name):
            await SecretSources().fetch(f"env:{name}")


@pytest.mark.parametrize("reference", ["hunter2", "", ":", "env:", ":NAME", "ENV:NAME", "hunter2 env:X"])
async def test_what_is_no_reference_is_refused_without_being_quoted(reference: str) -> None:
    with pytest.raises(SettingsError) as refused:
        SecretSources().check(reference)
    assert "hunter2" not in f"{refused.value} {refused.value.hint}"


async def test_unknown_source_is_refused_without_being_quoted() -> None:
    """`hunter2:x` may be a password that somebody wrote in the wrong place."""
    with pytest.raises(SettingsError) as refused:
        await SecretSources().fetch("hunter2:x")
    assert "hunter2" not in f"{refused.value} {refused.value.hint}"


async def test_error_of_a_source_never_quotes_it() -> None:
    with pytest.raises(SecretFault) as refused:
        await SecretSources({"leaky": Leaky()}).fetch("leaky:x")
    error: BaseException | None = refused.value
    assert "hunter2" not in str(error)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


async def test_entry_point_serves_its_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints([EntryPoint("vault", f"{__name__}:Vault", "taskgate.secrets")])
    monkeypatch.setattr(sources, "entry_points", points.select)
    assert (await SecretSources().fetch("vault:kv/orders#password")).reveal() == "from vault kv/orders#password"


async def test_two_packages_for_one_scheme_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints([EntryPoint("vault", f"{name}:Vault", "taskgate.secrets") for name in ("a", "b")])
    monkeypatch.setattr(sources, "entry_points", points.select)
    with pytest.raises(SettingsError, match=r"a:Vault, b:Vault"):
        SecretSources().check("vault:x")
