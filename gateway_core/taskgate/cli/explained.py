"""One question to policy, and its answer as people and programs read it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer
from rich.text import Text

from taskgate.cli.output import console, print_table
from taskgate.cli.visible import escaped
from taskgate.domain import Action, Verdict
from taskgate.errors import ClientFault
from taskgate.policy import document, subjects
from taskgate.policy.decision import Context
from taskgate.policy.explain import RuleReport, Stage
from taskgate.policy.load import load
from taskgate.policy.problems import Problem, as_error
from taskgate.policy.table_tests import Answer, CatalogSpec, PrincipalSpec, ask
from taskgate.sql.catalog import Catalog

_STYLES = {Verdict.ALLOW: "bold green", Verdict.APPROVE: "bold yellow", Verdict.DENY: "bold red"}


@dataclass(frozen=True, slots=True)
class Question:
    """`who` is a principal as table tests describe one; either `sql` or `pairs`."""

    target: str
    who: dict[str, Any]
    sql: str | None
    pairs: tuple[str, ...]
    catalog: Path | None
    tables: tuple[str, ...]
    parameters: tuple[str, ...]
    time: datetime | None
    client_address: str

    def ask(self, paths: Iterable[Path]) -> Answer:
        """Raises PolicyError, BadParameter."""
        known = self._catalog()
        time = (self.time or datetime.now(UTC)).replace(tzinfo=UTC)
        return ask(
            load(paths),
            PrincipalSpec.model_validate(self.who).principal(),
            subjects.target(self.target),
            self._action(known),
            Context(time, self.client_address),
            known,
        )

    def _action(self, known: Catalog) -> Action:
        if (self.sql is None) == (not self.pairs):
            raise typer.BadParameter("say what: --sql or --pair, one of the two")
        try:
            if self.sql is None:
                return subjects.pairs(self.pairs)
            return subjects.statement(self.sql, known, parameters=self.parameters)
        except (ClientFault, ValueError) as error:
            raise typer.BadParameter(str(error)) from None

    def _catalog(self) -> Catalog:
        spec = _read_catalog(self.catalog) if self.catalog is not None else CatalogSpec()
        tables = dict(spec.tables)
        for entry in self.tables:
            name, _, columns = entry.partition(":")
            if "." not in name:
                raise typer.BadParameter(f"--table is schema.table:column,column, not {entry!r}")
            tables[name] = [column.strip() for column in columns.split(",") if column.strip()]
        return spec.model_copy(update={"tables": tables}).catalog()


def _read_catalog(path: Path) -> CatalogSpec:
    problems: list[Problem] = []
    _, found = document.read(path, problems)
    if found is None or problems:
        raise as_error(problems)
    data = found.data.get("catalog", found.data) if isinstance(found.data, dict) else None
    try:
        return CatalogSpec.model_validate(data)
    except ValueError as error:
        raise typer.BadParameter(f"{path} is no catalogue: {error}") from None


def as_data(question: Question, answer: Answer) -> dict[str, Any]:
    """For `--json`."""
    explanation, decision = answer.explanation, answer.explanation.decision
    return {
        "verdict": str(answer.verdict),
        "reason": answer.reason or None,
        "target": question.target,
        "policy_version": explanation.policy_version,
        "pairs": [str(pair) for pair in explanation.pairs],
        "uncovered": [str(pair) for pair in decision.uncovered],
        "matches": [asdict(match) for match in decision.matches],
        "terms": asdict(decision.terms) if decision.terms else None,
        "row_bound": decision.row_bound,
        "recording": str(decision.recording),
        "cacheable": decision.cacheable,
        "undecided": decision.undecided,
        "refused_by_mask": answer.refusal is not None,
        "rules": [
            {
                "rule": report.rule,
                "verdict": str(report.verdict),
                "place": report.place,
                "stage": str(report.stage),
                "why": report.why,
                "pairs": [str(pair) for pair in report.pairs],
                "refuses": report.refuses,
            }
            for report in explanation.rules
        ],
        "masks": [asdict(mask) for mask in explanation.masks],
        "columns": {name: str(rule.kind) for name, rule in explanation.columns.items()},
    }


def show(answer: Answer, *, every: bool) -> None:
    """For people. Rules about other targets only with `every`."""
    explanation, decision, out = answer.explanation, answer.explanation.decision, console()
    out.print(Text(str(answer.verdict).upper(), style=_STYLES[answer.verdict]), end="")
    out.print(Text(f"  {escaped(answer.reason)}" if answer.reason else ""))
    uncovered = set(decision.uncovered)
    for pair in explanation.pairs:
        mark, style = ("no rule ", "red") if pair in uncovered else ("covered ", "green")
        out.print(Text.assemble("  ", (mark, style), escaped(pair)))
    if decision.terms is not None:
        who = ", ".join(decision.terms.approvers)
        out.print(Text(f"  asks {escaped(who)}; held {decision.terms.hold:.0f} s; {decision.terms.uses} use(s)"))
    if decision.row_bound is not None:
        out.print(Text(f"  at most {decision.row_bound} changed rows"))
    out.print()
    rules = sorted(
        (report for report in explanation.rules if every or report.stage is not Stage.TARGET),
        key=lambda report: (not report.matched, not report.refuses, not report.pairs, report.rule),
    )
    print_table(
        ("rule", "verdict", "here", "because", "at"),
        [_rule_row(report) for report in rules],
        empty="There are no rules.",
    )
    if explanation.columns or explanation.masks:
        out.print()
    for mask in explanation.masks:
        state = "applies" if mask.applies else f"does not apply: {mask.why}"
        out.print(Text(f"mask {escaped(mask.mask)} ({mask.kind}) {escaped(state)}"))
    for name, rule in explanation.columns.items():
        out.print(Text(f"column {escaped(name)}: {rule.kind} by {escaped(rule.id)}", style="cyan"))


def _rule_row(report: RuleReport) -> tuple[str, ...]:
    if report.matched:
        state, because = "matches", report.why or ", ".join(map(str, report.pairs))
    else:
        state, because = "refuses" if report.refuses else "no", f"{report.stage}: {report.why}"
    return report.rule, str(report.verdict), state, because, report.place
