"""The commands that need the settings file and no gateway."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from taskgate.cli.exit_codes import ExitCode
from taskgate.identity.scopes import Scope
from tests.unit.cli.conftest import Cli, Running


def test_the_first_key_is_made_without_a_gateway(cli: Cli, config: Path) -> None:
    made = cli(
        "api-key", "create", "dana", "--user", "--scope", "approvals:decide", "--group", "dba",
        "--alias", "dana@example.com", "--ttl", "90d", "--config", str(config),
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    secret = made.stdout.strip()
    assert secret.startswith("tgk_")
    listed = cli("api-key", "list", "--config", str(config), "--json")
    (key,) = json.loads(listed.stdout)
    assert (key["name"], key["kind"], key["scopes"], key["groups"]) == ("dana", "user", ["approvals:decide"], ["dba"])
    assert key["aliases"] == ["dana@example.com"]
    assert key["expires_at"] is not None
    assert secret.partition(".")[2] not in listed.output
    assert cli("api-key", "revoke", key["id"], "--config", str(config)).stdout == f"{key['id']} revoked\n"
    assert "already" in cli("api-key", "revoke", key["id"], "--config", str(config)).stdout
    assert cli("api-key", "revoke", "tgk_none", "--config", str(config)).exit_code == ExitCode.NOT_FOUND
    assert json.loads(cli("api-key", "list", "--config", str(config), "--json").stdout) == []
    assert len(json.loads(cli("api-key", "list", "--all", "--config", str(config), "--json").stdout)) == 1


def test_a_key_may_speak_for_one_orchestrator_only(cli: Cli, config: Path) -> None:
    arguments = ["api-key", "create", "airflow", "--scope", "credentials:issue", "--source", "prod", "--json"]
    made = cli(*arguments, "--config", str(config))
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["key"]["groups"] == ["source:prod"]
    assert cli(*arguments, "--user", "--config", str(config)).exit_code == ExitCode.USAGE


@pytest.mark.parametrize("scope", ["everything", "approvals:decide"])
def test_scopes_a_service_cannot_have(cli: Cli, config: Path, scope: str) -> None:
    result = cli("api-key", "create", "x", "--scope", scope, "--config", str(config))
    assert result.exit_code == ExitCode.USAGE
    assert result.stderr.startswith("error:")


def test_scopes_are_listed(cli: Cli) -> None:
    output = cli("api-key", "scopes").output
    assert all(scope in output for scope in Scope)


def test_the_store_is_checked_and_migrated(cli: Cli, config: Path) -> None:
    assert cli("db", "check", "--config", str(config)).exit_code == ExitCode.UNAVAILABLE
    assert cli("db", "migrate", "--config", str(config)).exit_code == 0
    assert cli("db", "migrate", "--config", str(config)).exit_code == 0
    assert json.loads(cli("db", "check", "--json", "--config", str(config)).stdout) == {"current": True}


def test_settings_that_are_wrong_are_named(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "taskgate.yaml"
    path.write_text("targets: 3\nsurprise: 1\n")
    result = cli("db", "check", "--config", str(path))
    assert result.exit_code == ExitCode.USAGE
    assert f"{path}:1: targets" in result.stderr
    assert f"{path}:2: unknown setting surprise" in result.stderr
    missing = cli("api-key", "list", "--config", str(tmp_path / "none.yaml"))
    assert missing.exit_code == ExitCode.USAGE
    assert "none.yaml" in missing.stderr


def test_a_target_that_is_away(cli: Cli, config: Path) -> None:
    result = cli("target", "test", "--json", "--config", str(config))
    assert result.exit_code == ExitCode.UNAVAILABLE
    (found,) = json.loads(result.stdout)
    assert (found["target"], found["ok"]) == ("orders-db", False)
    assert "127.0.0.1:1" in found["problem"]
    assert "canary-password" not in result.output
    assert cli("target", "test", "none", "--config", str(config)).exit_code == ExitCode.USAGE


def findings(output: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item in json.loads(output):
        found.setdefault(item["check"], []).append(item["level"])
    return found


def test_a_key_is_not_made_to_do_nothing(cli: Cli, config: Path) -> None:
    result = cli("api-key", "create", "x", "--config", str(config))
    assert result.exit_code == ExitCode.USAGE
    assert all(scope in result.stderr for scope in Scope)
    assert result.stdout == ""
    assert not (config.parent / "data").exists()


def test_doctor_names_what_is_wrong_and_what_to_do(cli: Cli, config: Path) -> None:
    config.write_text(f"{config.read_text()}\nprefect: [{{source: prod-prefect, url: http://127.0.0.1:1/api}}]\n")
    (config.parent / "data").mkdir(mode=0o755)
    (config.parent / "data").chmod(0o755)
    (config.parent / "orders.secret").chmod(0o644)
    keys = config.parent / "data" / "keys"
    keys.mkdir()
    (keys / "checkpoint.pub").touch(0o644)  # public: nothing to find fault with
    result = cli("doctor", "--json", "--config", str(config))
    assert result.exit_code == ExitCode.FAILED
    found = findings(result.stdout)
    assert found["settings"] == ["ok"]
    assert found["prefect prod-prefect"] == ["fail"]
    assert found["data directory"] == ["warn"]
    assert found["private files"] == ["fail"]
    assert found["target orders-db"] == ["fail"]
    assert found["policy"][0] == "ok"
    assert found["journal"] in (["ok"], ["warn"])
    assert found["store"] == ["warn"]
    assert found["gateway"] == ["warn"]
    assert all(item["do"] for item in json.loads(result.stdout) if item["level"] != "ok")
    text = cli("doctor", "--config", str(config)).stdout
    assert f"→ chmod 600 {config.parent / 'orders.secret'}" in text
    assert "canary-password" not in result.output + text


def test_doctor_asks_at_the_port_of_the_settings(cli: Cli, config: Path, running: Running) -> None:
    port = running.url.rpartition(":")[2]
    config.write_text(config.read_text().replace("public_url: http://127.0.0.1:1", f"api: {{port: {port}}}"))
    found = json.loads(cli("doctor", "--json", "--config", str(config)).stdout)
    gateway = next(item for item in found if item["check"] == "gateway")
    assert (gateway["level"], gateway["found"]) == ("ok", f"ready at {running.url}")


def test_doctor_with_a_policy_and_settings_that_do_not_load(cli: Cli, config: Path) -> None:
    (config.parent / "policy.yaml").write_text("version: 1\nrules: [{id: 3}]\n")
    assert findings(cli("doctor", "--json", "--config", str(config)).stdout)["policy"] == ["fail"]
    config.write_text("nonsense: 1\n")
    result = cli("doctor", "--json", "--config", str(config))
    assert set(findings(result.stdout)["settings"]) == {"fail"}
    assert result.exit_code == ExitCode.FAILED


def test_doctor_doubts_a_variable_that_sets_nothing(cli: Cli, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKGATE_LOG_LEVLE", "debug")
    found = json.loads(cli("doctor", "--json", "--config", str(config)).stdout)
    doubt = next(item for item in found if item["check"] == "environment")
    assert (doubt["level"], doubt["found"]) == (
        "warn",
        "TASKGATE_LOG_LEVLE: no such setting: did you mean TASKGATE_LOG_LEVEL?",
    )
