"""Settings: every problem at once with its place; environment over file; nothing unsafe accepted off loopback."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskgate.domain import TlsMode
from taskgate.errors import SettingsError
from taskgate.settings import Settings
from taskgate.settings_values import is_loopback

GOOD = """\
policy: [policy.yaml]
targets:
  - name: orders-db
    host: 127.0.0.1
    port: 5432
    database: shop
    user: taskgate
    secret: env:ORDERS_DB
    tls: disable
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "taskgate.yaml"
    file.write_text(text)
    return file


def problems(folder: Path, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.load(write(folder, text))
    return str(caught.value)


def test_defaults_and_relative_paths(tmp_path: Path) -> None:
    settings = Settings.load(write(tmp_path, GOOD))
    assert settings.api.port == 8400
    assert settings.policy == [tmp_path / "policy.yaml"]
    assert settings.data_dir == tmp_path / "taskgate-data"
    assert settings.store_url == f"sqlite+aiosqlite:///{tmp_path}/taskgate-data/store.sqlite"
    assert settings.targets[0].target().tls is TlsMode.DISABLE


@pytest.mark.parametrize(
    ("api", "url"),
    [
        ("{}", "http://127.0.0.1:8400"),
        ("{port: 9400, host: localhost}", "http://localhost:9400"),
        ("{host: '::1'}", "http://[::1]:8400"),
        ("{host: 0.0.0.0, tls_cert: c.pem, tls_key: k.pem}", "https://127.0.0.1:8400"),
    ],
)
def test_the_api_is_where_it_listens_unless_said_otherwise(tmp_path: Path, api: str, url: str) -> None:
    text = f"{GOOD}api: {api}\n"
    assert Settings.load(write(tmp_path, text)).api_url == url
    assert Settings.load(write(tmp_path, text + "public_url: https://gate/\n")).api_url == "https://gate"


def test_approvals_have_a_page_only_with_a_dashboard(tmp_path: Path) -> None:
    assert Settings.load(write(tmp_path, GOOD)).approval_url("apr_1") is None
    settings = Settings.load(write(tmp_path, GOOD + "dashboard_url: https://people/\n"))
    assert settings.approval_url("apr_1") == "https://people/approvals?id=apr_1"


def test_retention(tmp_path: Path) -> None:
    settings = Settings.load(write(tmp_path, GOOD + "retention: {sessions: 400d, credentials: null}\n"))
    assert settings.retention.sessions == 400 * 86400
    assert settings.retention.approvals is None
    assert settings.retention.credentials is None
    assert Settings.load(write(tmp_path, GOOD)).retention.credentials == 90 * 86400
    assert "retention.sessions" in problems(tmp_path, GOOD + "retention: {sessions: 30m}\n")


def test_secret_files_are_found_from_the_settings_file(tmp_path: Path) -> None:
    settings = Settings.load(write(tmp_path, GOOD.replace("env:ORDERS_DB", "file:orders.secret")))
    assert settings.targets[0].secret == f"file:{tmp_path}/orders.secret"


def test_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKGATE_API__PORT", "9999")
    monkeypatch.setenv("TASKGATE_POSTGRES__MAX_MESSAGE", "1 MiB")
    settings = Settings.load(write(tmp_path, GOOD + "api: {port: 8000, host: localhost}\n"))
    assert (settings.api.port, settings.api.host) == (9999, "localhost")
    assert settings.postgres.max_message == 1024**2


def test_every_problem_is_named_with_its_line(tmp_path: Path) -> None:
    text = GOOD + "api:\n  port: 70000\nrecordings: {}\ncredentials:\n  default_ttl: soon\n"
    lines = problems(tmp_path, text).splitlines()
    file = tmp_path / "taskgate.yaml"
    assert f"{file}:11: api.port: Input should be less than or equal to 65535" in lines
    assert f"{file}:12: unknown setting recordings: did you mean recording?" in lines
    assert f"{file}:14: credentials.default_ttl: a duration looks like 250ms, 30s, 10m, 4h or 1d" in lines
    assert len(lines) == 3


def test_a_variables_problem_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And every problem is still told at once, those of the file with their line."""
    for name, value in {
        "API__PORT": "canary",
        "POSTGRES__PROT": "6432",
        "POLICY": "policy.yaml",
        "CREDENTIALS": '{"max_ttl": "soon"}',
        "RECODRING__SYNC_INTERVAL": "1s",
        "POSTGRES__TLS_CERT": "cert.pem",
    }.items():
        monkeypatch.setenv(f"TASKGATE_{name}", value)
    text = GOOD.replace("user: taskgate", "usr: taskgate") + "postgres:\n  port: 1\nport: 8400\n"
    file, found = tmp_path / "taskgate.yaml", problems(tmp_path, text)
    assert set(found.splitlines()) == {
        "TASKGATE_API__PORT: Input should be a valid integer, unable to parse string as an integer",
        "TASKGATE_POLICY: Input should be a valid list, written as JSON",
        "TASKGATE_CREDENTIALS: credentials.max_ttl: a duration looks like 250ms, 30s, 10m, 4h or 1d",
        "TASKGATE_POSTGRES__PROT: unknown setting postgres.prot: did you mean postgres.port?",
        "TASKGATE_RECODRING__SYNC_INTERVAL: no such setting: did you mean TASKGATE_RECORDING__SYNC_INTERVAL?",
        f"{file}:3: targets.0.user: Field required",
        f"{file}:7: unknown setting targets.0.usr: did you mean targets.0.user?",
        f"{file}:12: unknown setting port: did you mean api.port or postgres.port?",
    }
    assert "canary" not in found


def test_a_section_of_file_and_environment_names_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKGATE_POSTGRES__TLS_CERT", "cert.pem")
    assert problems(tmp_path, GOOD + "postgres:\n  port: 1\n") == (
        f"{tmp_path}/taskgate.yaml:10: postgres: tls_cert and tls_key go together "
        "(TASKGATE_POSTGRES__TLS_CERT in the environment)"
    )


def test_other_variables_with_the_prefix_are_doubted_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "URL", "API_KEY", "API_KEY_FILE", "CA_FILE", "CONFIG", "PURE_PYTHON",  # of clients, command line, compiled part
        "DB__PASSWORD",  # a secret that settings refer to; and what Kubernetes sets
        "SERVICE_HOST", "SERVICE_PORT", "API_SERVICE_PORT_HTTP", "PORT_8400_TCP", "PORT_8400_TCP_ADDR",
    ):  # fmt: skip
        monkeypatch.setenv(f"TASKGATE_{name}", "1")
    monkeypatch.setenv("TASKGATE_PORT", "tcp://10.0.0.1:8400")
    text = GOOD.replace("env:ORDERS_DB", "env:TASKGATE_DB__PASSWORD")
    assert Settings.load(write(tmp_path, text)).doubts() == []
    monkeypatch.setenv("TASKGATE_API_PORT", "8400")
    monkeypatch.setenv("TASKGATE_SURPRISE", "1")
    assert set(Settings.load(write(tmp_path, text)).doubts()) == {
        "TASKGATE_API_PORT: no such setting: did you mean TASKGATE_API__PORT?",
        "TASKGATE_SURPRISE: no such setting",
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("host: 127.0.0.1", "host: db.example.org"), "tls: disable is for loopback addresses only"),
        (("env:ORDERS_DB", "hunter2"), "never the secret itself"),
        (("name: orders-db", "name: Orders DB"), "should match pattern"),
        (("policy: [policy.yaml]", "policy: []"), "at least 1 item"),
        (("tls: disable", "tls: prefer"), "Input should be 'disable', 'verify-ca' or 'verify-full'"),
        (("tls: disable", "catalog_user: reader"), "catalog_user and catalog_secret go together"),
    ],
)
def test_unsafe_or_unclear_is_refused(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    assert message in problems(tmp_path, GOOD.replace(*change))


def test_a_refused_value_is_not_repeated(tmp_path: Path) -> None:
    assert "hunter2" not in problems(tmp_path, GOOD.replace("env:ORDERS_DB", "hunter2"))


def test_listening_off_loopback_needs_tls(tmp_path: Path) -> None:
    assert "0.0.0.0, off loopback, needs tls_cert" in problems(tmp_path, GOOD + "postgres: {host: 0.0.0.0}\n")
    assert "off loopback" in problems(tmp_path, GOOD + "api: {host: '::'}\n")


def test_a_target_stands_once(tmp_path: Path) -> None:
    twice = GOOD + GOOD.split("targets:\n")[1]
    assert "target orders-db stands twice" in problems(tmp_path, twice)


def test_broken_yaml_and_missing_file(tmp_path: Path) -> None:
    assert "taskgate.yaml:2:" in problems(tmp_path, "policy: [a\nb: c: d")
    with pytest.raises(SettingsError, match="No such file"):
        Settings.load(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", True), ("127.8.9.1", True), ("::1", True), ("10.0.0.1", False), ("localhost.example.org", False)],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
