from __future__ import annotations

import copy
import pickle
import ssl
from pathlib import Path

import certifi
import pytest

from taskgate.client import Client, ConnectionSettings, ConnectionSettingsError
from taskgate.client.connection import ApiKeyAuth


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("URL", "API_KEY", "API_KEY_FILE", "CA_FILE", "ALLOW_PLAIN_HTTP"):
        monkeypatch.delenv(f"TASKGATE_{name}", raising=False)


def test_the_environment_fills_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.write_text("tgk_1.secret\n")
    monkeypatch.setenv("TASKGATE_URL", "https://gateway.example/taskgate/")
    monkeypatch.setenv("TASKGATE_API_KEY_FILE", str(key_file))
    settings = ConnectionSettings.resolve()
    assert settings.url == "https://gateway.example/taskgate"
    assert settings.auth is not None
    assert "secret" not in repr(settings)


def test_the_default_is_the_gateway_on_this_machine() -> None:
    settings = ConnectionSettings.resolve()
    assert (settings.url, settings.auth) == ("http://127.0.0.1:8400", None)


@pytest.mark.parametrize("key", ["with space", "with\nline", "ümlaut", "tab\t"])
def test_a_key_that_cannot_be_a_header_is_refused_and_not_quoted(key: str) -> None:
    with pytest.raises(ConnectionSettingsError) as raised:
        Client("http://127.0.0.1", key)
    assert key not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["gateway", "ftp://gateway", "http://", "https://user:pw@gateway", "https://gateway?x=1", "http://[bad"]
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ConnectionSettingsError):
        Client(url, "key")


@pytest.mark.parametrize("url", ["http://gateway.example", "http://10.0.0.1:8400", "http://localhost.evil.example"])
def test_a_key_does_not_cross_the_network_in_clear(url: str) -> None:
    with pytest.raises(ConnectionSettingsError, match="in clear"):
        ConnectionSettings.resolve(url, "key")
    assert ConnectionSettings.resolve(url, "key", allow_plain_http=True).url == url
    assert ConnectionSettings.resolve(url).url == url  # nothing to lose without a key


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1", "https://gateway.example"]
)
def test_loopback_and_tls_are_fine(url: str) -> None:
    assert ConnectionSettings.resolve(url, "key").url == url


def test_missing_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConnectionSettingsError, match=r"nowhere\.pem"):
        Client("https://gateway", "key", ca_file=str(tmp_path / "nowhere.pem"))
    monkeypatch.setenv("TASKGATE_API_KEY_FILE", str(tmp_path / "nowhere.key"))
    with pytest.raises(ConnectionSettingsError, match=r"nowhere\.key"):
        ConnectionSettings.resolve()


def test_over_plain_http_no_certificate_is_trusted_and_none_is_read() -> None:
    context = ConnectionSettings.resolve("http://127.0.0.1:8400").verify()
    assert isinstance(context, ssl.SSLContext)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.get_ca_certs() == []


def test_authorities_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    context = ConnectionSettings.resolve("https://gateway").verify()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.get_ca_certs() != []
    assert ConnectionSettings.resolve("https://another").verify() is context


def test_a_file_of_authorities_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    file, everything = tmp_path / "ca.pem", Path(certifi.where()).read_text()
    end = "-----END CERTIFICATE-----\n"
    first, second, *_ = [f"{one}{end}" for one in everything.split(end)]
    file.write_text(first)
    settings = ConnectionSettings.resolve("https://gateway", ca_file=str(file))
    before = settings.verify()
    assert settings.verify() is before
    file.write_text(first + second)
    assert len(settings.verify().get_ca_certs()) == 2
    file.write_text("nonsense")
    with pytest.raises(ConnectionSettingsError, match="cannot read the certificates"):
        settings.verify()


def test_the_key_is_not_pickled_or_copied() -> None:
    auth = ApiKeyAuth("tgk_1.secret")
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(auth)
