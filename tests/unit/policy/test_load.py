"""Every problem of a file, word for word, and what files a path means."""

from pathlib import Path

import pytest

from taskgate.errors import PolicyError
from taskgate.policy.load import detector_names, load, read
from tests.unit.policy.builders import DETECTORS, messages, policy, rule, rules

BROKEN = """\
versoin: 1
builtin: maybe
rules:
  - id: Bad Id
    mach: {}
    match:
      targets: []
      principals: {kind: tsak, assurence: any, assurance: sure, name: "", groups: [1]}
      effects: [sql.selct, "foo.*", 3]
      objects: ["", "a"]
    when: principal.bundel == "etl"
    verdict: alow
  - id: calls
    match: {targets: x, effects: [sql.call, sql.unknown]}
    verdict: allow
    approval: {from: [dba], hold: 10, expires: 2 weeks, uses: 0, max_rows: "5", streams: yes, allow_requester: no}
    limits: {max_rows: -1, rows: 2}
  - id: calls
    match: {targets: x, effects: [sql.select]}
    verdict: approve
    record: all
  - id: asks
    match: {targets: x, effects: [sql.select]}
    verdict: approve
    approval: {hold: 10m, channels: [slack, airflw, 1]}
  - id: builtin-sesion
    match: {targets: x, effects: [sql.select]}
    verdict: deny
    limits: {max_rows: 1}
    when: |
      true &&
        principal.name = "x"
  - 5
  - match: {effects: sql.select}
    verdict: [allow]
    reason: 7
masks:
  - {targets: x, columns: [email], with: redacted}
  - {targets: x, detect: [emial], with: none}
  - {targets: x, columns: ["*.x"], detect: email, with: none, principals: {kind: user}, predicates: maybe}
  - {targets: x, with: redact}
  - {targets: x, detect: email, with: redact, predicates: allow}
"""

PROBLEMS = """\
1: unknown key "versoin" (did you mean "version"?)
1: version: 1 is missing
2: builtin: must be true or false
4: rule "Bad Id": id: 'Bad Id' is not a name: small letters, digits, _ . and -, at most 63
5: rule "Bad Id": unknown key "mach" (did you mean "match"?)
7: rule "Bad Id": match.targets: needs at least one entry
8: rule "Bad Id": match.principals.assurance: must be one of verified, delegated, asserted, any, not 'sure'
8: rule "Bad Id": match.principals.groups[0]: must be a text, not 1 (put it in quotes)
8: rule "Bad Id": match.principals.kind: must be one of task, user, service, not 'tsak' (did you mean "task"?)
8: rule "Bad Id": match.principals.name: an empty glob matches nothing
8: rule "Bad Id": match.principals: unknown key "assurence" (did you mean "assurance"?)
9: rule "Bad Id": match.effects[0]: unknown effect "sql.selct" (did you mean "sql.select"?)
9: rule "Bad Id": match.effects[1]: no effect matches "foo.*"
9: rule "Bad Id": match.effects[2]: must be a text, not 3 (put it in quotes)
10: rule "Bad Id": match.objects[0]: an empty glob matches nothing
11: rule "Bad Id": when: at 11: unknown fact "principal.bundel" (did you mean "bundle"?)
12: rule "Bad Id": verdict: must be one of allow, deny, approve, not 'alow' (did you mean "allow"?)
14: rule "calls": match: to allow sql.call name the functions in objects: any function may read any table
16: rule "calls": approval.allow_requester: must be true or false, not 'no'
16: rule "calls": approval.expires: a duration looks like 30s, 10m, 4h or 1d
16: rule "calls": approval.from[0]: an approver is group:NAME or user:NAME, not "dba"
16: rule "calls": approval.hold: a duration looks like 30s, 10m, 4h or 1d
16: rule "calls": approval.max_rows: must be a whole number, not '5'
16: rule "calls": approval.streams: must be one of allow, refuse, not 'yes'
16: rule "calls": approval.uses: must be at least 1
16: rule "calls": approval: only an approve rule has an approval block, this one says allow
17: rule "calls": limits.max_rows: must be at least 1
17: rule "calls": limits: unknown key "rows" (did you mean "max_rows"?)
18: rule "calls": an approve rule needs approval.from: who may approve
18: rule "calls": id: there is already a rule of this name at policy.yaml:13
21: rule "calls": record: must be one of metadata, statements, results, not 'all'
25: rule "asks": approval.channels[0]: must be one of airflow, not 'slack'
25: rule "asks": approval.channels[1]: must be one of airflow, not 'airflw' (did you mean "airflow"?)
25: rule "asks": approval.channels[2]: must be one of airflow, not 1
25: rule "asks": approval.from: is missing
26: rule "builtin-sesion": there is no built-in rule of this name (did you mean "builtin-session"?)
29: rule "builtin-sesion": limits: a deny rule lets nothing through that could be limited
30: rule "builtin-sesion": when: at 2:18: unexpected character '='
33: rules[5]: must be a mapping
34: rules[6]: id: is missing
34: rules[6]: match.targets: is missing
35: rules[6]: verdict: must be one of allow, deny, approve, not ['allow'] (did you mean "allow"?)
36: rules[6]: reason: must be a text, not 7 (put it in quotes)
38: masks[0]: columns[0]: columns are schema.table.column: write "*.email"
38: masks[0]: with: must be one of none, partial, hash, redact, null, not 'redacted' (did you mean "redact"?)
39: masks[1]: an exemption (with: none) has to say who in principals: name, groups, source, …
39: masks[1]: detect[0]: unknown detector "emial" (did you mean "email"?)
40: masks[2]: needs columns or detect, one of the two
40: masks[2]: predicates: must be one of allow, refuse, not 'maybe'
41: masks[3]: needs columns or detect, one of the two
42: masks[4]: predicates: only a mask of columns has it
"""


def test_every_problem_is_named_at_once_with_its_line() -> None:
    assert messages(BROKEN) == PROBLEMS.splitlines()


def test_the_error_lists_them_all(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(BROKEN)
    with pytest.raises(PolicyError) as caught:
        load([path], detectors=DETECTORS)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"the policy has {len(PROBLEMS.splitlines())} problems:"
    assert lines[1] == f'  {path}:1: unknown key "versoin" (did you mean "version"?)'
    assert len(lines) == 1 + len(PROBLEMS.splitlines())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- version: 1", "1: must be a mapping with version, rules, masks"),
        ("version: 2", "1: version: 1 is missing"),
        ("version: true", "1: version: 1 is missing"),
        ("rules: []", "1: version: 1 is missing"),
        ("version: 1\nrules: {}", "2: rules: must be a list"),
        ("version: 1\nmasks: x", "2: masks: must be a list"),
        ("version: 1\nrules:\n  - {id: a, id: b}", '3: duplicate key "id", first on line 3'),
    ],
)
def test_files_that_are_no_policy(text: str, problem: str) -> None:
    assert problem in messages(text)


def test_one_word_may_stand_for_a_list() -> None:
    loaded = policy(rules(rule("allow", objects="public.a", principals="{kind: user, groups: dba}")))
    assert loaded.rules[0].spec.match.objects == ("public.a",)


def test_a_rule_of_the_same_name_in_another_file_is_a_problem(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("version: 1\n" + rules(rule("allow", name="same")))
    problems = [problem.message for problem in read([tmp_path], detectors=DETECTORS).errors]
    assert problems == [f'rule "same": id: there is already a rule of this name at {tmp_path}/a.yaml:3']


def test_a_folder_means_every_policy_below_it(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / ".hidden").mkdir()
    good = "version: 1\n"
    for name in ("a.yaml", "deep/b.yml", ".hidden/c.yaml", ".d.yaml", "a.test.yaml", "notes.txt"):
        (tmp_path / name).write_text(good if name in ("a.yaml", "deep/b.yml") else "not: a policy\n")
    reading = read([tmp_path, tmp_path / "a.yaml"], detectors=DETECTORS)
    assert reading.errors == ()
    assert [str(path.relative_to(tmp_path)) for path in reading.files] == ["a.yaml", "deep/b.yml"]


def test_paths_that_mean_nothing_are_problems(tmp_path: Path) -> None:
    reading = read([tmp_path, tmp_path / "none.yaml"], detectors=DETECTORS)
    assert [problem.message for problem in reading.errors] == [
        "there is no policy file in this folder",
        "cannot be read: No such file or directory",
    ]


def test_a_problem_in_one_file_keeps_all_from_loading(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text("version: 1\n" + rules(rule("allow")))
    (tmp_path / "bad.yaml").write_text("version: 1\nrules: 5\n")
    assert read([tmp_path], detectors=DETECTORS).policy is None


def test_detectors_are_those_of_masking() -> None:
    assert {"email", "credit_card", "us_ssn", "iban"} <= detector_names()


def test_the_docs_sample_loads(tmp_path: Path) -> None:
    assert load([Path(__file__).parents[3] / "examples" / "policies"]).warnings == ()
