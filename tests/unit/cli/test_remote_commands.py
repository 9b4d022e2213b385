"""The commands that speak to a gateway, against the real API on a socket."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from taskgate.cli import approvals as approvals_module
from taskgate.cli.exit_codes import ExitCode
from taskgate.domain import Action
from taskgate.enforcement.decisions import DecisionScope
from taskgate.errors import PolicyRefusal
from taskgate.identity.scopes import Scope
from taskgate.policy.decision import Context
from taskgate.sql.postgres import analyze
from taskgate.store.ids import IdPrefix, new_id
from tests.unit.api.control_plane import draft
from tests.unit.cli.conftest import Cli, Running

TASK = ["--source", "prod", "--dag-id", "etl", "--run-id", "r1", "--task-id", "clean", "--attempt-id", "ti-1"]


@pytest.fixture
def admin(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but deciding, for the environment."""
    monkeypatch.setenv("TASKGATE_URL", running.url)
    monkeypatch.setenv("TASKGATE_API_KEY", running.do(running.plane.key("airflow", Scope.ADMIN)))


@pytest.fixture
def dana(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A DBA who decides."""
    key = running.plane.key("dana", Scope.APPROVALS_READ, Scope.APPROVALS_DECIDE, user=True, groups=["dba"])
    monkeypatch.setenv("TASKGATE_URL", running.url)
    monkeypatch.setenv("TASKGATE_API_KEY", running.do(key))


@pytest.mark.usefixtures("admin")
def test_credentials_are_issued_listed_and_revoked(cli: Cli, running: Running) -> None:
    issued = json.loads(
        cli("credential", "issue", "orders-db", "--ttl", "5m", *TASK, "--attribute", "bundle=etl", "--json").stdout
    )
    assert issued["dsn"].startswith(f"postgresql://{issued['user']}:{issued['password']}@")
    assert issued["principal"]["attributes"] == {"bundle": "etl"}
    dsn = cli("credential", "issue", "orders-db", *TASK, "--dsn")
    assert dsn.stdout.startswith("postgresql://tg_")
    assert dsn.stdout.count("\n") == 1
    fields = dict(line.split("\t") for line in cli("credential", "issue", "orders-db", *TASK).stdout.splitlines())
    assert fields["dsn"] == f"postgresql://{fields['user']}:{fields['password']}@gateway.example:6432/orders"
    listed = cli("credential", "list")
    assert listed.stdout.count("\n") == 3
    assert issued["password"] not in listed.output
    assert cli("credential", "revoke", issued["id"], "--reason", "over").exit_code == 0
    assert len(json.loads(cli("credential", "list", "--json").stdout)) == 2
    assert len(json.loads(cli("credential", "list", "--all", "--json").stdout)) == 3


@pytest.mark.usefixtures("admin")
def test_half_a_task_is_no_task(cli: Cli) -> None:
    result = cli("credential", "issue", "orders-db", "--dag-id", "etl")
    assert result.exit_code == ExitCode.USAGE
    assert "--run-id" in result.stderr


@pytest.mark.usefixtures("admin")
def test_targets(cli: Cli) -> None:
    assert "orders-db\tpostgres\torders\tdb.internal:5432\tgateway.example:6432\n" in cli("target", "list").stdout


@pytest.mark.usefixtures("dana")
def test_approving_shows_the_exact_text_and_asks(cli: Cli, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "DELETE FROM public.orders\n\tWHERE note = $1 -- \u202eharmless"
    approval = running.do(running.plane.approvals.request(draft(text=text)))
    shown = cli("approvals", "show", approval.id)
    assert shown.exit_code == 0, shown.output
    assert "DELETE FROM public.orders\n⇥   WHERE note = $1 -- ⟦U+202E⟧harmless" in shown.stdout
    assert "characters that cannot be seen" in shown.stdout
    assert "canary-parameter" in shown.stdout
    assert "7 (sent as bytes 00000007)" in shown.stdout
    assert "deletes-need-a-human" in shown.stdout
    assert "user:taskgate:dana" in [view.viewer for view in running.do(running.plane.approvals.views(approval.id))]
    blind = cli("approvals", "approve", approval.id)
    assert blind.exit_code == ExitCode.USAGE  # not on a terminal, and no --yes
    monkeypatch.setattr(approvals_module, "_on_terminal", lambda: True)
    second_thoughts = cli("approvals", "approve", approval.id, input="n\n")
    assert second_thoughts.exit_code != 0
    assert running.do(running.plane.approvals.get(approval.id)).state == "pending"
    agreed = cli("approvals", "approve", approval.id, "-m", "checked", input="y\n")
    assert agreed.exit_code == 0, agreed.output
    assert running.do(running.plane.approvals.get(approval.id)).state == "approved"
    again = cli("approvals", "deny", approval.id)
    assert again.exit_code == ExitCode.CONFLICT


@pytest.mark.usefixtures("dana")
def test_what_was_asked_under_another_policy_is_shown_as_outdated(cli: Cli, running: Running) -> None:
    version = running.plane.policy.current.version
    current = running.do(running.plane.approvals.request(draft("1" * 64, policy_version=version)))
    older = running.do(running.plane.approvals.request(draft("2" * 64, policy_version="older")))
    listed = {line.split("\t")[0]: line.split("\t")[1] for line in cli("approvals", "list").stdout.splitlines()}
    assert (listed[current.id], listed[older.id]) == ("pending", "pending, outdated")
    assert "the policy has changed since it was asked for" in cli("approvals", "show", older.id).stdout
    assert "outdated" not in cli("approvals", "show", current.id).stdout


@pytest.mark.usefixtures("dana")
def test_approve_with_yes_and_deny(cli: Cli, running: Running) -> None:
    first = running.do(running.plane.approvals.request(draft("1" * 64)))
    second = running.do(running.plane.approvals.request(draft("2" * 64)))
    assert cli("approvals", "approve", first.id, "--yes").stdout == f"{first.id} approved\n"
    assert cli("approvals", "deny", second.id, "--comment", "no").stdout == f"{second.id} denied\n"
    assert cli("approvals", "list").stdout == ""
    states = [item["state"] for item in json.loads(cli("approvals", "list", "--all", "--json").stdout)]
    assert states == ["denied", "approved"]
    waited = cli("approvals", "show", second.id, "--wait", "5s")
    assert waited.exit_code == ExitCode.NOT_APPROVED
    assert cli("approvals", "show", first.id, "--wait", "5s").exit_code == 0


@pytest.mark.usefixtures("dana")
@pytest.mark.parametrize("decision", [("approve", "--yes"), ("deny",)])
def test_parameters_are_shown_after_the_decision_too(cli: Cli, running: Running, decision: tuple[str, ...]) -> None:
    approval = running.do(running.plane.approvals.request(draft()))
    cli("approvals", decision[0], approval.id, *decision[1:])
    shown = cli("approvals", "show", approval.id)
    assert "canary-parameter" in shown.stdout
    assert len(running.do(running.plane.approvals.views(approval.id))) == 1


def test_after_the_decision_parameters_need_records_read(
    cli: Cli, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKGATE_URL", running.url)
    approval = running.do(running.plane.approvals.request(draft()))
    dana = running.do(running.plane.key("dana", Scope.APPROVALS_DECIDE, user=True, groups=["dba"]))
    running.do(running.plane.approvals.decide(approval.id, dana.partition(".")[0], False))
    for scopes, seen in (((), False), ((Scope.RECORDS_READ,), True)):
        key = running.do(running.plane.key("auditor", Scope.APPROVALS_READ, *scopes, user=True))
        shown = cli("approvals", "show", approval.id, "--api-key", key)
        assert shown.exit_code == 0
        assert ("canary-parameter" in shown.stdout) is seen
        assert ("to keys with records:read" in shown.stderr) is not seen


@pytest.mark.usefixtures("admin")
def test_how_long_a_connection_waits_and_that_nobody_may_decide(cli: Cli, running: Running) -> None:
    version = running.plane.policy.current.version
    approval = running.do(running.plane.approvals.request(draft(held=True, hold=90.0, policy_version=version)))
    shown = cli("approvals", "show", approval.id).stdout
    assert re.search(r"waits until\s+20\d\d-.*Z: a connection waits [89]\d s more", shown), shown
    assert re.search(r"but nobody\s+no live key with the scope approvals:decide is of group:dba", shown), shown
    listed = cli("approvals", "list").stdout.split("\t")
    assert listed[1] == "pending, nobody may decide"
    assert listed[4] == f"{approval.waits_until:%Y-%m-%d %H:%M:%SZ}"


@pytest.mark.usefixtures("admin")
def test_who_may_not_decide_sees_no_parameters(cli: Cli, running: Running) -> None:
    approval = running.do(running.plane.approvals.request(draft()))
    shown = cli("approvals", "show", approval.id)
    assert shown.exit_code == 0
    assert "canary-parameter" not in shown.output
    assert "You may not decide this" in shown.stderr
    assert running.do(running.plane.approvals.views(approval.id)) == ()
    refused = cli("approvals", "deny", approval.id)
    assert refused.exit_code == ExitCode.REFUSED


@pytest.mark.usefixtures("admin")
def test_sessions_are_found_shown_replayed_and_killed(cli: Cli, running: Running, tmp_path: Path) -> None:
    session_id = new_id(IdPrefix.SESSION)
    running.do(running.plane.recorded(session_id, ["SELECT 1", "SELECT '\x1b[2J'"]))
    assert session_id in cli("sessions", "list", "--dag-id", "etl", "--state", "closed").stdout
    assert cli("sessions", "list", "--dag-id", "other").stdout == ""
    assert session_id in cli("sessions", "list", "--name", "ET clea").stdout
    assert cli("sessions", "list", "--person", "nobody").stdout == ""
    shown = cli("sessions", "show", session_id)
    assert "SELECT 1" in shown.stdout
    assert "\x1b[2J" not in shown.stdout
    replayed = cli("sessions", "replay", session_id)
    assert replayed.exit_code == 0, replayed.output
    assert "SELECT 1" in replayed.stdout
    assert "\x1b[2J" not in replayed.stdout
    events = json.loads(cli("sessions", "replay", session_id, "--json").stdout)
    assert [event["kind"] for event in events] == ["session_opened", "action", "action", "session_closed"]
    offline = cli("sessions", "replay", session_id, "--bundle", str(running.plane.data_dir))
    assert "SELECT 1" in offline.stdout
    assert cli("sessions", "kill", session_id).exit_code == ExitCode.CONFLICT
    live = new_id(IdPrefix.SESSION)
    opened = running.plane.sessions.opened(
        live, draft().principal, "orders-db", protocol="postgres", client_address="x", policy_version="p"
    )
    running.do(opened)
    assert cli("sessions", "kill", live, "--reason", "runaway").exit_code == 0
    assert running.plane.live.killed[0][2] == "runaway"
    assert cli("sessions", "show", "ses_none").exit_code == ExitCode.NOT_FOUND


async def refused(running: Running, text: str) -> tuple[str, str]:
    """A session in the store, and the HINT that it gets for `text`."""
    plane, session_id = running.plane, new_id(IdPrefix.SESSION)
    await plane.recorded(session_id, [])
    target, catalog = plane.targets["orders-db"], plane.catalog("orders-db")
    scope = DecisionScope(draft().principal, target, plane.policy.current, catalog, hash_key=bytes(32))
    action = Action("postgres", text, analyze(text, catalog, ["public"]))
    with pytest.raises(PolicyRefusal) as refusal:
        scope.judge(action, Context(), session_id)
    return session_id, str(refusal.value.hint)


def test_the_command_in_a_refusals_hint_works_as_printed(
    cli: Cli, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "UPDATE orders SET note = 'x'"
    session_id, hint = running.do(refused(running, text))
    monkeypatch.setenv("TASKGATE_URL", running.url)
    monkeypatch.setenv("TASKGATE_API_KEY", running.do(running.plane.key("ann", Scope.POLICY_EXPLAIN, user=True)))
    program, *arguments = shlex.split(hint.split("`")[1])
    assert program == "taskgate"
    shown = cli(*arguments, input=text + "\n")
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.startswith("DENY\n  no rule sql.update public.orders\n")
    assert "etl-reads\tallow\tno\teffect: it is about sql.select" in shown.stdout
    allowed = cli("policy", "explain", "--session", session_id, "--sql", "SELECT id FROM orders", "--json")
    assert json.loads(allowed.stdout)["verdict"] == "allow"
    none = cli("policy", "explain", "--session", new_id(IdPrefix.SESSION), "--sql", "SELECT 1")
    assert none.exit_code == ExitCode.NOT_FOUND


def test_gateway_and_files_explain_alike(
    cli: Cli, running: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TASKGATE_URL", running.url)
    monkeypatch.setenv("TASKGATE_API_KEY", running.do(running.plane.key("ann", Scope.POLICY_EXPLAIN, user=True)))
    who = ["--target", "orders-db", "--task", "etl.clean", "--source", "prod", "--client-address", "10.0.0.9"]
    tables = ["--table", "public.orders:id,note", "--table", "public.customers:id,email"]
    for text in ("DELETE FROM orders WHERE id = $1", "SELECT email FROM customers WHERE email = 'x'", "DROP TABLE x"):
        asked = [*who, "--sql", text, "--parameter", "7", "--time", "2026-11-23T10:00"]
        for form in (["--json"], ["--all"], []):
            there = cli("policy", "explain", *asked, *form)
            here = cli("policy", "explain", str(tmp_path / "policy.yaml"), *asked, *tables, *form)
            assert there.exit_code == 0, there.output
            assert there.stdout == here.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sql", "SELECT 1", "--task", "a.b"], "say where: --target or --session"),
        (["--session", "ses_1", "--sql", "SELECT 1", "--task", "a.b"], "--session says who"),
        (["--target", "orders-db", "--task", "a.b", "--sql", "SELECT 1"], "--source"),
        (["--target", "orders-db", "--task", "a.b", "--source", "p", "--pair", "sql.select x"], "go with policy files"),
        (["policy.yaml", "--session", "ses_1", "--sql", "SELECT 1"], "one of the two"),
        (["--session", "ses_1", "--sql", "SELECT 1", "--client-address", "there"], "client_address"),
    ],
)
def test_what_a_gateway_cannot_be_asked(cli: Cli, arguments: list[str], message: str) -> None:
    result = cli("policy", "explain", *arguments)
    assert result.exit_code == ExitCode.USAGE
    assert message in " ".join(result.stderr.replace("│", " ").split())


def test_a_gateway_makes_the_bundle(
    cli: Cli, running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = new_id(IdPrefix.SESSION)
    running.do(running.plane.recorded(session_id, ["SELECT 1"]))
    key = running.do(running.plane.key("auditor", Scope.RECORDS_READ, user=True))
    public = str(running.plane.data_dir / "keys" / "checkpoint.pub")
    where = ["--url", running.url, "--api-key", key]
    for name, chosen in (("run.zip", ["--dag-id", "etl", "--run-id", "run-1"]), ("one.zip", [session_id])):
        target = tmp_path / name
        made = cli("export", *chosen, "-o", str(target), *where)
        assert made.exit_code == 0, made.output
        assert made.stdout.startswith(f"{target}: 1 sessions, 4 records, ")
        assert cli("verify", str(target), "--public-key", public).exit_code == 0
        assert cli("export", *chosen, "-o", str(target), *where).exit_code == ExitCode.USAGE  # replaces nothing
    monkeypatch.setenv("TASKGATE_URL", running.url)
    monkeypatch.setenv("TASKGATE_API_KEY", key)
    headers = tmp_path / "headers.zip"
    assert cli("export", "--dag-id", "etl", "--headers-only", "-o", str(headers)).exit_code == 0
    assert b"SELECT 1" not in headers.read_bytes()
    assert cli("verify", str(headers), "--public-key", public).exit_code == 0


def test_a_gateway_exports_only_what_was_asked_for_and_may_be_read(cli: Cli, running: Running, tmp_path: Path) -> None:
    target = tmp_path / "b.zip"
    reader = running.do(running.plane.key("reader", Scope.SESSIONS_READ, user=True))
    where = ["-o", str(target), "--url", running.url, "--api-key", reader]
    assert cli("export", "--all", *where).exit_code == ExitCode.USAGE
    assert cli("export", *where).exit_code == ExitCode.USAGE
    assert cli("export", "--dag-id", "etl", *where, "--data-dir", str(tmp_path)).exit_code == ExitCode.USAGE
    assert cli("export", "--dag-id", "etl", *where, "-o", str(tmp_path / "b")).exit_code == ExitCode.USAGE
    assert cli("export", "--dag-id", "etl", *where).exit_code == ExitCode.REFUSED
    auditor = running.do(running.plane.key("auditor", Scope.RECORDS_READ, user=True))
    assert cli("export", "--dag-id", "etl", *where, "--api-key", auditor).exit_code == ExitCode.NOT_FOUND
    assert list(tmp_path.glob("b.zip*")) == []


def test_address_and_key_can_be_given_as_options(cli: Cli, running: Running) -> None:
    secret = running.do(running.plane.key("reader", Scope.TARGETS_READ))
    assert cli("target", "list", "--url", running.url, "--api-key", secret).exit_code == 0
    wrong = cli("target", "list", "--url", running.url, "--api-key", "tgk_1.canary")
    assert wrong.exit_code == ExitCode.REFUSED
    assert "request:" in wrong.stderr
    assert "canary" not in wrong.output
    none = cli("target", "list", "--url", running.url)
    assert none.exit_code == ExitCode.USAGE
    assert "TASKGATE_API_KEY" in none.stderr
    clear = cli("target", "list", "--url", "http://gateway.example", "--api-key", "k")
    assert clear.exit_code == ExitCode.USAGE
    assert "in clear" in clear.stderr


def test_a_gateway_that_is_away(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskgate.client.sync.time.sleep", lambda _: None)
    result = cli("target", "list", "--url", "http://127.0.0.1:1", "--api-key", "k")
    assert result.exit_code == ExitCode.UNAVAILABLE
    assert "cannot reach http://127.0.0.1:1" in result.stderr
