"""docs/policy.md says what is there: every fact, effect, key, function, and commands that run."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from taskgate.cli.root import app
from taskgate.policy import cel_functions, cel_syntax, model
from taskgate.policy.effects import EFFECTS, READS
from taskgate.policy.fact_names import MATCHABLE, ROOTS, Origin
from tests.unit.policy.builders import messages

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "policy.md").read_text()
WORDS = set(re.findall(r"`([^`\n]+)`", PAGE))


def test_every_fact_is_listed_as_it_is() -> None:
    listed = dict(re.findall(r"^\| `((?!match)\w+\.\w+)` \| (.+) \|$", PAGE, re.MULTILINE))
    expected = {}
    for root, names in ROOTS.items():
        for name, fact in names.items():
            marks = ["author"] * (fact.origin is Origin.AUTHOR) + ["varies"] * fact.volatile
            expected[f"{root}.{name}"] = f"{fact.type} | {fact.meaning}" + (f" — *{', '.join(marks)}*" if marks else "")
    assert listed == expected


def test_every_effect_is_listed() -> None:
    listed = set(re.findall(r"`((?:sql|ssh|sftp|k8s|http)\.\w+)`", PAGE))
    assert listed == EFFECTS
    assert listed > READS


def test_every_key_is_named() -> None:
    keys = {*model.keys(model.Rule), *model.keys(model.Approval), *model.keys(model.Mask), *MATCHABLE}
    keys |= {f"match.{key}" for key in model.keys(model.Match)} | {"kind", "source", "name", "groups", "assurance"}
    assert keys - {"match"} <= WORDS | {"columns", "detect"}


def test_every_function_is_named() -> None:
    assert {*cel_functions.FUNCTIONS, *cel_functions.METHODS, *cel_functions.MACROS, "has"} <= WORDS
    assert f"{cel_syntax.LONGEST:,} characters" in PAGE


def test_what_is_otherwise_is_so() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `?([\w ]+)`? \|", PAGE, re.MULTILINE))
    terms = model.Approval.model_validate({"from": "user:a"})
    seconds = {"s": 1, "m": 60, "h": 3600}
    for key in ("hold", "hold_in_transaction", "expires"):
        assert int(rows[key][:-1]) * seconds[rows[key][-1]] == getattr(terms, key)
    assert (rows["uses"], rows["streams"], rows["max_rows"]) == (str(terms.uses), terms.streams, "none")


@pytest.mark.parametrize("sample", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
def test_every_sample_loads(sample: str) -> None:
    if "tests:" in sample:
        assert yaml.safe_load(sample)["tests"]
        return
    text = (
        sample
        if sample.startswith("version")
        else "version: 1\n" + ("rules:\n" if "- id: etl" in sample else "") + sample
    )
    assert messages(text) == []


@pytest.mark.parametrize("command", re.findall(r"^\$ taskgate (.+?)(?<!\\)$", PAGE, re.MULTILINE | re.DOTALL))
def test_every_command_runs(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(app, shlex.split(command.replace("\\\n", " ")))
    assert result.exit_code == 0, result.output
