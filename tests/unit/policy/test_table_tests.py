from pathlib import Path

import pytest

from taskgate.policy.load import load
from taskgate.policy.problems import Problem
from taskgate.policy.table_tests import CaseResult, PrincipalSpec, run, table_files
from tests.unit.policy.builders import DETECTORS, rule, rules

EXAMPLES = Path(__file__).parents[3] / "examples" / "policies"
POLICY = (
    rules(
        rule("allow", name="reads", objects='["public.*"]'),
        rule("approve", "sql.delete", "asks", approval='{from: "group:dba", max_rows: 5}'),
        rule("allow", "sql.update", "few", when='"impact.rows < 5"'),
        rule("allow", "sql.insert", "seven", when="\"action.parameters[0] == '7'\""),
    )
    + 'masks:\n  - {id: m, targets: "*", columns: "*.email", with: redact}\n'
)
HEAD = """version: 1
catalog:
  tables: {public.people: [id, email], other.people: [id]}
  views: {public.mails: {columns: [mail], query: SELECT email FROM public.people}}
principals:
  load: {source: prod, dag_id: nightly, task_id: load}
tests:
"""


def results(tmp_path: Path, tests: str, head: str = HEAD) -> tuple[list[CaseResult], list[str]]:
    path = tmp_path / "policy.yaml"
    path.write_text("version: 1\n" + POLICY)
    table = tmp_path / "policy.test.yaml"
    table.write_text(head + tests)
    problems: list[Problem] = []
    found = run(table, load([path], detectors=DETECTORS), problems)
    return found, [f"{problem.line}: {problem.message}" for problem in problems]


def case(sql: str, expect: str, **more: str) -> str:
    lines = [
        f"  - name: {more.pop('name', 'it')}",
        "    principal: load",
        "    target: db",
        f"    expect: {{{expect}}}",
    ]
    lines += [f"    sql: {sql}"] if sql else []
    return "\n".join([*lines, *(f"    {key}: {value}" for key, value in more.items())]) + "\n"


@pytest.mark.parametrize(
    ("test", "failures"),
    [
        (case("SELECT id FROM people", "verdict: allow, rules: [reads], masked: {}"), []),
        (case("SELECT email FROM people", "verdict: allow, masked: {public.people.email: redact}"), []),
        (case("SELECT id FROM people", "verdict: deny"), ["verdict: allow instead of deny"]),
        (
            case("SELECT id FROM other.people", "verdict: allow, uncovered: []"),
            ["verdict: deny instead of allow", "uncovered: sql.select other.people instead of none"],
        ),
        (
            case("DELETE FROM people", "verdict: approve, rules: [reads], approvers: [], row_bound: 4"),
            ["rules: asks instead of reads", "approvers: group:dba instead of none", "row_bound: 5 instead of 4"],
        ),
        (
            case("SELECT id FROM people WHERE email = 'x'", "verdict: allow"),
            [
                "verdict: deny instead of allow (masked column public.people.email is used where its value shows "
                "although it is masked (mask m: redact))"
            ],
        ),
        (
            case("SELECT id FROM people", "verdict: allow, reason: because, masked: {a.b.c: null}"),
            ["masked: none instead of a.b.c: null", 'reason: "" does not contain "because"'],
        ),
        (case("UPDATE people SET id = 1", "verdict: allow", impact="{rows: 4}"), []),
        (case("UPDATE people SET id = 1", "verdict: deny", impact="{rows: 5, triggers: 1}"), []),
        (case("INSERT INTO people VALUES ($1)", "verdict: allow", parameters="['7']"), []),
        (case("INSERT INTO people VALUES ($1)", "verdict: deny", parameters="['8']"), []),
        (case("", "verdict: allow", pairs="[sql.select public.x]"), []),
        (case("", "verdict: deny", pairs="[sql.unknown]"), []),
        (
            case("", "verdict: deny", pairs="[sql.selekt x]"),
            ['unknown effect "sql.selekt" (did you mean "sql.select"?)'],
        ),
        (case("SELEC 1", "verdict: deny"), ['syntax error at or near "SELEC"']),
    ],
)
def test_what_differs_is_said(tmp_path: Path, test: str, failures: list[str]) -> None:
    found, problems = results(tmp_path, test)
    assert problems == []
    assert [failure[:160] for failure in found[0].failures] == [failure[:160] for failure in failures]
    assert found[0].passed is not bool(failures)


def test_what_is_wrong_with_the_file_is_said(tmp_path: Path) -> None:
    found, problems = results(
        tmp_path,
        "  - {name: a, principal: lod, target: db, sql: x, expect: {verdict: allow, rule: [x]}}\n"
        "  - {name: b, principal: {kind: tsk, source: x}, target: db, sql: x, pairs: [x], expect: {verdict: yes}}\n"
        "  - {name: c, principal: load, target: db, expect: {verdict: allow}}\n"
        "  - {name: d, principal: lod, target: db, sql: x, expect: {verdict: allow}, context: {time: noon}}\n"
        "  - {name: e, principal: lod, target: db, sql: x, expect: {verdict: allow}}\n"
        "  - {name: f, principal: {kind: tsk, source: x}, target: db, sql: x, expect: {verdict: allow}}\n",
        HEAD.replace("principals:", "principal: {}\nprincipals:"),
    )
    assert found == []
    assert [problem.partition(" (did you mean")[0] for problem in problems[:3]] == [
        '5: unknown key "principal"',
        '9: tests[0]: expect: unknown key "rule"',
        "10: tests[1]: expect.verdict: must be one of allow, deny, approve, not 'yes'",
    ]
    assert "14: kind: must be one of task, user, service, not 'tsk'" in problems[-1].replace("tests[5].principal: ", "")
    assert any(problem.startswith("11: tests[2]: needs sql or pairs, one of the two") for problem in problems)
    assert any(problem.startswith("12: tests[3]: context.time:") for problem in problems)
    assert '13: tests[4]: principal: there is no principal "lod" (did you mean "load"?)' in problems


@pytest.mark.parametrize("text", ["version: 1\n", "version: 1\ntests: []\n", "version: 1\ntests: {}\n"])
def test_a_table_without_tests_is_wrong(tmp_path: Path, text: str) -> None:
    assert results(tmp_path, "", text)[1] == [
        f"{1 if 'tests' not in text else 2}: tests: a list with at least one test"
    ]


def test_which_tables_a_path_means(tmp_path: Path) -> None:
    for name in ("a.yaml", "a.test.yaml", "b.test.yml", "c.yaml"):
        (tmp_path / name).touch()
    assert [path.name for path in table_files([tmp_path])] == ["a.test.yaml", "b.test.yml"]
    assert [path.name for path in table_files([tmp_path / "a.yaml", tmp_path / "c.yaml"])] == ["a.test.yaml"]
    assert [path.name for path in table_files([tmp_path / "b.test.yml"])] == ["b.test.yml"]


def test_the_example_passes() -> None:
    problems: list[Problem] = []
    found = run(EXAMPLES / "orders.test.yaml", load([EXAMPLES]), problems)
    assert problems == []
    assert len(found) >= 15
    assert [each for each in found if not each.passed] == []


def test_what_a_flow_does_outside_its_tasks_has_the_flows_name() -> None:
    principal = PrincipalSpec(source="prod", dag_id="orders-cleanup").principal()
    assert principal.attempt is not None
    assert (principal.name, principal.attempt.task.task_id) == ("orders-cleanup", "")
