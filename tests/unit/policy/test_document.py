from pathlib import Path

import pytest

from taskgate.policy import document
from taskgate.policy.problems import Problem


def parsed(text: str) -> tuple[object, list[str]]:
    problems: list[Problem] = []
    found = document.parse(text, "p.yaml", problems)
    return found.data if found else None, [str(problem) for problem in problems]


def test_scalars_are_those_of_yaml_1_2() -> None:
    data, problems = parsed("a: [no, on, yes, 2026-01-01, 0o7, 1_000, 10:30, 1.5, -3, ~, null, true, False, '5', 0x10]")
    assert problems == []
    assert data == {
        "a": [
            "no", "on", "yes", "2026-01-01", "0o7", "1_000", "10:30", 1.5, -3, None, None, True, False, "5", "0x10",
        ]
    }  # fmt: skip


def test_lines_are_remembered_for_every_value() -> None:
    problems: list[Problem] = []
    found = document.parse("a:\n  - b: 1\n    c:\n      - x\n      - y\n", "p.yaml", problems)
    assert found is not None
    assert [found.line(place) for place in [(), ("a",), ("a", 0, "b"), ("a", 0, "c", 1)]] == [1, 1, 2, 5]
    assert found.line(("a", 0, "c", 7, "q")) == 3  # the closest thing that is written


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "p.yaml: the file is empty"),
        ("# only a remark\n", "p.yaml: the file is empty"),
        ("a: 1\nb: 2\na: 3", 'p.yaml:3: duplicate key "a", first on line 1'),
        ("a: {b: 1,\n  b: 2}", 'p.yaml:2: duplicate key "b", first on line 1'),
        ("a: b: c", "p.yaml:1: not YAML: mapping values are not allowed in this context"),
        ("a: *nowhere", "p.yaml:1: not YAML: found undefined alias"),
        ("--- 1\n--- 2", "p.yaml:2: not YAML: but found another document"),
        ("a: !!python/object/apply:os.system [id]", "YAML tags are not allowed"),
        ("a: !secret x", "p.yaml:1: YAML tags are not allowed: !secret"),
        ("a: !!binary aGk=", "YAML tags are not allowed"),
        ("<<: {a: 1}", "p.yaml:1: merge keys (<<) are not supported"),
        ("? [a]\n: b", "p.yaml:1: a key must be a plain text"),
        ("a: \x01", "p.yaml: not YAML: unacceptable character"),
        ("a: 1234567890123456789012", "p.yaml:1: the number is too long"),
    ],
)
def test_what_is_refused(text: str, problem: str) -> None:
    _, problems = parsed(text)
    assert len(problems) == 1
    assert problem in problems[0]


def test_anchors_may_be_used() -> None:
    assert parsed("a: &x [1, 2]\nb: *x") == ({"a": [1, 2], "b": [1, 2]}, [])


def test_anchors_may_not_explode() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert parsed("\n".join(lines)) == (None, ["p.yaml:1: expands to more than 100,000 values"])


def test_a_list_may_not_hold_itself() -> None:
    assert parsed("a: &x [*x]") == (None, ["p.yaml:1: nested more than 32 deep"])


def test_a_tower_of_brackets_is_refused_before_it_is_climbed() -> None:
    assert parsed("[" * 500_000) == (None, ["p.yaml:1: nested more than 32 deep"])


def test_a_long_list_is_refused() -> None:
    assert parsed("[" + "1," * 120_000 + "]") == (None, ["p.yaml:1: more than 100,000 values"])


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    def problems_of(path: Path) -> list[str]:
        problems: list[Problem] = []
        document.read(path, problems)
        return [problem.message for problem in problems]

    large = tmp_path / "large.yaml"
    large.write_text("a: " + "x" * document.MOST_BYTES)
    assert problems_of(large) == ["larger than 1,024 KiB"]
    other = tmp_path / "latin.yaml"
    other.write_bytes(b"a: 1\nb: \xe4\n")
    assert problems_of(other) == ["is not UTF-8"]
    assert problems_of(tmp_path / "none.yaml") == ["cannot be read: No such file or directory"]
    assert problems_of(tmp_path) == ["cannot be read: Is a directory"]
