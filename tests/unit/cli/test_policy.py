"""`taskgate policy`, as a shell sees it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from taskgate.cli.root import app

EXAMPLES = Path(__file__).parents[3] / "examples" / "policies"
GOOD = """version: 1
rules:
  - id: reads
    match: {targets: db, effects: sql.select, objects: ["public.*"]}
    verdict: allow
  - id: asks
    match: {targets: db, effects: sql.delete}
    verdict: approve
    approval: {from: "group:dba", max_rows: 5, channels: airflow}
masks:
  - {id: m, targets: "*", columns: "*.email", with: redact}
"""
DOUBTFUL = GOOD.replace("targets: db, effects: sql.select", "targets: db, principals: {dag_id: x}, effects: sql.select")
BAD = GOOD.replace("allow", "alow").replace("sql.delete", "sql.delet")


def taskgate(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["policy", *map(str, arguments)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "policy.yaml"
    found.write_text(GOOD)
    return found


def test_check_says_what_there_is(path: Path) -> None:
    result = taskgate("check", path)
    assert result.exit_code == 0
    assert result.stdout.startswith("1 file, 2 rules, 1 mask: 0 warnings. Version ")


def test_check_names_every_problem_with_its_place(path: Path) -> None:
    path.write_text(BAD)
    result = taskgate("check", path)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0] == (
        f'{path}:5: rule "reads": verdict: must be one of allow, deny, approve, not \'alow\' (did you mean "allow"?)'
    )
    assert lines[1].startswith(f'{path}:7: rule "asks": match.effects: unknown effect "sql.delet"')
    assert lines[2] == "1 file: 2 problems, 0 warnings. This policy does not load."


def test_warnings_are_no_problems_unless_asked(path: Path) -> None:
    path.write_text(DOUBTFUL)
    result = taskgate("check", path)
    assert result.exit_code == 0
    assert f'{path}:3: warning: rule "reads": rests only on dag_id, which every author' in result.stdout
    assert taskgate("check", "--strict", path).exit_code == 1


def test_check_as_json(path: Path) -> None:
    path.write_text(BAD)
    result = taskgate("check", "--json", path)
    data = json.loads(result.stdout)
    assert (result.exit_code, data["ok"], data["version"], data["files"]) == (1, False, None, [str(path)])
    assert data["problems"][0] == {
        "path": str(path),
        "line": 5,
        "severity": "error",
        "message": 'rule "reads": verdict: must be one of allow, deny, approve, not \'alow\' (did you mean "allow"?)',
    }
    path.write_text(DOUBTFUL)
    data = json.loads(taskgate("check", "--json", path).stdout)
    assert data["ok"]
    assert len(data["version"]) == 64
    assert [problem["severity"] for problem in data["problems"]] == ["warning"]


def test_what_a_file_says_cannot_play_with_the_terminal(path: Path) -> None:
    path.write_text(GOOD.replace("verdict: allow", 'verdict: "\\e[2Jallow"'))
    result = taskgate("check", path)
    assert "\x1b" not in result.stdout
    assert result.exit_code == 1


def test_a_policy_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    result = taskgate("check", tmp_path / "none.yaml")
    assert result.exit_code == 1
    assert "none.yaml: cannot be read: No such file or directory" in result.stdout


def test_without_paths_it_is_the_settings_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = taskgate("check")
    assert result.exit_code == 2
    assert "taskgate.yaml" in result.stderr


def test_the_example_passes() -> None:
    assert taskgate("check", EXAMPLES).exit_code == 0
    result = taskgate("test", EXAMPLES)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1].endswith(" passed, 0 failed")


TABLE = """version: 1
catalog: {tables: {public.people: [id, email]}}
principals: {t: {source: p, dag_id: d, task_id: t}}
tests:
  - {name: one, principal: t, target: db, sql: SELECT id FROM people, expect: {verdict: allow}}
  - {name: two, principal: t, target: db, sql: SELECT id FROM people, expect: {verdict: deny}}
"""


def test_a_test_that_fails_says_where_and_how(path: Path) -> None:
    table = path.with_name("policy.test.yaml")
    table.write_text(TABLE)
    result = taskgate("test", path)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "ok   one",
        "FAIL two",
        f"     {table}:6: verdict: allow instead of deny",
        "1 passed, 1 failed",
    ]
    data = json.loads(taskgate("test", "--json", table).stdout)
    assert (data["ok"], data["passed"], data["failed"]) == (False, 1, 1)
    assert data["tests"][1] == {
        "name": "two", "place": f"{table}:6", "passed": False, "failures": ["verdict: allow instead of deny"],
    }  # fmt: skip


def test_no_tests_are_not_passed_tests(path: Path) -> None:
    result = taskgate("test", path)
    assert result.exit_code == 1
    assert "There are no tests" in result.stdout


def test_a_policy_that_does_not_load_passes_no_test(path: Path) -> None:
    path.with_name("policy.test.yaml").write_text(TABLE)
    path.write_text(BAD)
    result = taskgate("test", path)
    assert result.exit_code == 1
    assert "unknown effect" in result.stdout


def explained(path: Path, *arguments: str) -> dict[str, Any]:
    result = taskgate("explain", path, "--target", "db", "--json", *arguments)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


TASK = ("--task", "nightly.load", "--source", "prod")
PEOPLE = ("--table", "public.people:id,email")


def test_explain_for_people(path: Path) -> None:
    result = taskgate("explain", path, "--target", "db", *TASK, *PEOPLE, "--sql", "SELECT id, email FROM people")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].strip() == "ALLOW"
    assert lines[1].strip() == "covered sql.select public.people"
    assert f"reads\tallow\tmatches\tsql.select public.people\t{path}:3" in lines
    assert "asks\tapprove\tno\teffect: it is about sql.delete" in result.stdout
    assert "column public.people.email: redact by m" in lines


def test_explain_says_who_is_asked_and_where(path: Path) -> None:
    result = taskgate("explain", path, "--target", "db", *TASK, *PEOPLE, "--sql", "DELETE FROM people")
    assert "  asks group:dba; held 600 s; 1 use(s); also in airflow" in result.stdout.splitlines()


def test_explain_as_json(path: Path) -> None:
    data = explained(path, *TASK, *PEOPLE, "--sql", "DELETE FROM people WHERE id = $1", "--parameter", "7")
    assert data["verdict"] == "approve"
    assert data["pairs"] == ["sql.delete public.people"]
    assert data["terms"]["approvers"] == ["group:dba"]
    assert data["terms"]["channels"] == ["airflow"]
    assert data["row_bound"] == 5
    stages = {rule["rule"]: rule["stage"] for rule in data["rules"]}
    assert (stages["asks"], stages["reads"]) == ("matched", "effect")


def test_explain_says_when_a_mask_refuses(path: Path) -> None:
    data = explained(path, *TASK, *PEOPLE, "--sql", "SELECT id FROM people WHERE email = 'x'")
    assert (data["verdict"], data["refused_by_mask"]) == ("deny", True)
    assert "public.people.email" in data["reason"]


def test_explain_somebody_else_by_pairs(path: Path) -> None:
    data = explained(path, "--principal", "user:eve", "--group", "dba", "--pair", "sql.select public.x")
    assert data["verdict"] == "allow"
    data = explained(path, "--principal", "service:x", "--assurance", "asserted", "--pair", "sql.select public.x")
    assert data["verdict"] == "deny"


def test_explain_reads_a_tables_catalogue() -> None:
    result = taskgate(
        "explain", EXAMPLES, "--target", "orders-db", "--json", "--catalog", EXAMPLES / "orders.test.yaml",
        "--task", "nightly.load", "--source", "prod-airflow", "--attribute", "bundle=etl",
        "--attribute", "run_type=scheduled", "--sql", "SELECT id FROM orders", "--time", "2026-11-23T10:00",
    )  # fmt: skip
    assert json.loads(result.stdout)["verdict"] == "allow"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "say who"),
        ((*TASK, "--principal", "user:a"), "say who"),
        (TASK, "say what"),
        ((*TASK, "--sql", "SELECT 1", "--pair", "sql.select"), "say what"),
        (("--task", "load", "--sql", "SELECT 1"), "--task is dag_id.task_id"),
        (("--principal", "alice", "--sql", "SELECT 1"), "--principal is user:NAME"),
        ((*TASK, "--attribute", "bundle", "--sql", "SELECT 1"), "--attribute is NAME=VALUE"),
        ((*TASK, "--table", "people:id", "--sql", "SELECT 1"), "--table is schema.table:column"),
        ((*TASK, "--sql", "SELEC 1"), "syntax error"),
        ((*TASK, "--pair", "sql.selekt x"), "unknown effect"),
    ],
)
def test_wrong_arguments_are_code_2(path: Path, arguments: tuple[str, ...], message: str) -> None:
    result = taskgate("explain", path, "--target", "db", *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())


def test_explain_needs_files_that_load(path: Path) -> None:
    path.write_text(BAD)
    result = taskgate("explain", path, "--target", "db", *TASK, "--sql", "SELECT 1")
    assert result.exit_code == 2
    assert "the policy has 2 problems" in result.output
