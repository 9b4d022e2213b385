"""Table tests: `<policy>.test.yaml` beside a policy says what it has to say to whom. docs/policy.md shows one."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from taskgate.domain import Action, Assurance, AttributeValue, MaskKind, Principal, PrincipalKind, Target, Verdict
from taskgate.errors import ClientFault, PolicyRefusal
from taskgate.masking.plan import MaskedColumns, plan
from taskgate.policy import document, model, subjects
from taskgate.policy.decision import Context
from taskgate.policy.entries import EntryReader
from taskgate.policy.explain import Explanation, explain
from taskgate.policy.fact_names import IMPACT
from taskgate.policy.policy_set import PolicySet
from taskgate.policy.problems import Problem, did_you_mean
from taskgate.sql.catalog import Catalog

SUFFIXES = (".test.yaml", ".test.yml")
_KEYS = ("version", "search_path", "catalog", "targets", "principals", "tests")


def _address(value: str) -> str:
    return str(ipaddress.ip_address(value))


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PrincipalSpec(_Part):
    """Somebody by hand. What is not one of the fields goes to `attributes`."""

    kind: Annotated[PrincipalKind, model.word(PrincipalKind)] = PrincipalKind.TASK
    name: model.Text | None = None
    source: model.Text
    assurance: Annotated[Assurance, model.word(Assurance)] = Assurance.VERIFIED
    dag_id: model.Text = ""
    task_id: model.Text = ""
    run_id: model.Text = "run"
    try_number: model.Count = 1
    attributes: dict[str, Any] = Field(default_factory=dict)

    def principal(self) -> Principal:
        attributes: dict[str, AttributeValue] = {
            name: tuple(map(str, value)) if isinstance(value, list) else value
            for name, value in self.attributes.items()
        }
        return subjects.principal(
            self.kind,
            self.name or (f"{self.dag_id}.{self.task_id}" if self.task_id else self.dag_id),
            self.source,
            assurance=self.assurance,
            attributes=attributes,
            dag_id=self.dag_id,
            task_id=self.task_id,
            run_id=self.run_id,
            try_number=self.try_number,
        )


class TargetSpec(_Part):
    database: model.Text = ""
    labels: dict[str, str] = Field(default_factory=dict)


class View(_Part):
    columns: list[str]
    query: model.Text


class CatalogSpec(_Part):
    tables: dict[str, list[str]] = Field(default_factory=dict)
    views: dict[str, View] = Field(default_factory=dict)
    functions: list[str] = Field(default_factory=list)

    def catalog(self) -> Catalog:
        views = {name: (view.columns, view.query) for name, view in self.views.items()}
        return subjects.catalog(self.tables, views, self.functions)


class Circumstances(_Part):
    time: Annotated[AwareDatetime, BeforeValidator(lambda value: datetime.fromisoformat(value))] | None = None
    client_address: Annotated[str, AfterValidator(_address)] = "127.0.0.1"

    def context(self, impact: Mapping[str, object] | None) -> Context:
        if self.time is None:
            return Context(client_address=self.client_address, impact=impact)
        return Context(self.time, self.client_address, impact)


class Expectation(_Part):
    """What has to come out; what is not said is not looked at."""

    verdict: Annotated[Verdict, model.word(Verdict)]
    rules: list[str] | None = None
    uncovered: list[str] | None = None
    masked: dict[str, Annotated[MaskKind, model.word(MaskKind), BeforeValidator(model.null)]] | None = None
    reason: model.Text | None = None
    approvers: list[str] | None = None
    row_bound: int | None = None


class Case(_Part):
    name: model.Text
    principal: str | dict[str, Any]
    target: model.Text
    sql: model.Text | None = None
    pairs: list[str] | None = None
    parameters: list[str | None] = Field(default_factory=list)
    context: Circumstances = Circumstances()
    impact: dict[Annotated[str, model.word(list(IMPACT))], int] | None = None
    expect: Expectation


@dataclass(frozen=True, slots=True)
class CaseResult:
    """How one test came out; `failures` says what differs, none where it passed."""

    name: str
    place: str
    failures: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.failures


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gateway would say: policy's explanation, and the refusal of a mask where one cannot hide a value."""

    explanation: Explanation
    refusal: PolicyRefusal | None = None

    @property
    def verdict(self) -> Verdict:
        return Verdict.DENY if self.refusal is not None else self.explanation.decision.verdict

    @property
    def reason(self) -> str:
        if self.refusal is not None:
            return self.refusal.message
        return self.explanation.decision.reason or ""


def ask(policy: PolicySet, who: Principal, where: Target, action: Action, context: Context, known: Catalog) -> Answer:
    """Policy and masks together, as a session asks them."""
    explanation = explain(policy, who, where, action, context)
    if explanation.decision.verdict is not Verdict.DENY:
        masked = MaskedColumns(policy.masks(who, where), known, b"")
        try:
            for facts in action.facts:
                plan(facts, masked)
        except PolicyRefusal as refusal:
            return Answer(explanation, refusal)
    return Answer(explanation)


def table_files(paths: Iterable[Path]) -> list[Path]:
    """The table tests that these paths mean: test files themselves, those beside a policy file, those in a folder."""
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = [file for suffix in SUFFIXES for file in sorted(path.rglob(f"*{suffix}"))]
            found.update(dict.fromkeys(inside))
        elif path.name.endswith(SUFFIXES):
            found[path] = None
        else:
            beside = [path.with_name(path.stem + suffix) for suffix in SUFFIXES]
            found.update(dict.fromkeys(file for file in beside if file.is_file()))
    return list(found)


def run(path: Path, policy: PolicySet, problems: list[Problem]) -> list[CaseResult]:
    """Run one file's tests. What is wrong with the file itself goes to `problems`."""
    before = len(problems)
    _, found = document.read(path, problems)
    if found is None:
        return []
    table = _Table(found, problems)
    tests = [table.test(index) for index in range(table.count)]
    if len(problems) > before:
        return []
    return [table.outcome(index, test, policy) for index, test in enumerate(tests) if test is not None]


class _Table:
    def __init__(self, found: document.Document, problems: list[Problem]) -> None:
        self._document = found
        self._problems = problems
        data = found.data if isinstance(found.data, dict) else {}
        if data.get("version") != 1:
            self._problem((), "a mapping with version: 1 and tests")
        for key in data:
            if key not in _KEYS:
                self._problem((key,), f'unknown key "{key}"{did_you_mean(key, _KEYS)}')
        self.search_path = tuple(str(name) for name in data.get("search_path") or subjects.DEFAULT_SEARCH_PATH)
        spec = self._part(("catalog",), CatalogSpec) if data.get("catalog") is not None else CatalogSpec()
        self.catalog = (spec or CatalogSpec()).catalog()
        self.principals = self._parts("principals", PrincipalSpec)
        self.targets = self._parts("targets", TargetSpec)
        self._inline: dict[int, Any] = {}
        tests = data.get("tests")
        if not isinstance(tests, list) or not tests:
            self._problem(("tests",), "tests: a list with at least one test")
            tests = []
        self.count = len(tests)

    def _problem(self, at: document.Place, message: str) -> None:
        self._problems.append(Problem(self._document.path, self._document.line(at), message))

    def _part(self, at: document.Place, kind: type[Any]) -> Any:
        return EntryReader(self._document, at, self._problems).shape(kind)

    def _parts(self, key: str, kind: type[Any]) -> dict[str, Any]:
        named = self._document.data.get(key) if isinstance(self._document.data, dict) else None
        if named is not None and not isinstance(named, dict):
            self._problem((key,), f"{key}: a mapping of names")
            return {}
        return {name: self._part((key, name), kind) for name in named or {}}

    def test(self, index: int) -> Case | None:
        reader = EntryReader(self._document, ("tests", index), self._problems)
        test = reader.shape(Case)
        if test is None:
            return None
        if (test.sql is None) == (test.pairs is None):
            reader.problem((), "needs sql or pairs, one of the two")
        if not isinstance(test.principal, str):
            self._inline[index] = self._part(("tests", index, "principal"), PrincipalSpec)
        elif test.principal not in self.principals:
            message = f'there is no principal "{test.principal}"{did_you_mean(test.principal, self.principals)}'
            reader.problem(("principal",), message)
        return test

    def outcome(self, index: int, test: Case, policy: PolicySet) -> CaseResult:
        place = f"{self._document.path}:{self._document.line(('tests', index))}"
        who = self.principals[test.principal] if isinstance(test.principal, str) else self._inline[index]
        spec = self.targets.get(test.target) or TargetSpec()
        where = subjects.target(test.target, database=spec.database, labels=spec.labels)
        try:
            action = (
                subjects.pairs(test.pairs)
                if test.pairs is not None
                else subjects.statement(
                    test.sql or "", self.catalog, search_path=self.search_path, parameters=test.parameters
                )
            )
        except (ClientFault, ValueError) as error:
            return CaseResult(test.name, place, (str(error),))
        answer = ask(policy, who.principal(), where, action, test.context.context(test.impact), self.catalog)
        return CaseResult(test.name, place, tuple(_differences(test.expect, answer)))


def _differences(expected: Expectation, answer: Answer) -> Iterable[str]:
    decision = answer.explanation.decision
    if answer.verdict is not expected.verdict:
        because = f" ({answer.reason})" if answer.reason else ""
        yield f"verdict: {answer.verdict} instead of {expected.verdict}{because}"
    found: dict[str, tuple[object, object]] = {
        "rules": (sorted(expected.rules or ()), sorted(match.rule for match in decision.matches)),
        "uncovered": (sorted(expected.uncovered or ()), sorted(str(pair) for pair in decision.uncovered)),
        "masked": (
            {column: str(kind) for column, kind in sorted((expected.masked or {}).items())},
            {column: str(rule.kind) for column, rule in sorted(answer.explanation.columns.items())},
        ),
        "approvers": (sorted(expected.approvers or ()), sorted(decision.terms.approvers if decision.terms else ())),
        "row_bound": (expected.row_bound, decision.row_bound),
    }
    for name, (wanted, got) in found.items():
        if getattr(expected, name) is not None and wanted != got:
            yield f"{name}: {_listed(got)} instead of {_listed(wanted)}"
    if expected.reason is not None and expected.reason not in answer.reason:
        yield f'reason: "{answer.reason}" does not contain "{expected.reason}"'


def _listed(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name}: {kind}" for name, kind in value.items()) or "none"
    return str(value)
