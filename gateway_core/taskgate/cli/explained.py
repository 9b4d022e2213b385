"""What policy says to one question, as people and programs read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from taskgate.cli.output import console, print_table
from taskgate.cli.visible import escaped
from taskgate.domain import Verdict

if TYPE_CHECKING:
    from taskgate.client.models import Explanation, RuleReport

_STYLES = {Verdict.ALLOW: "bold green", Verdict.APPROVE: "bold yellow", Verdict.DENY: "bold red"}
_MATCHED, _OTHER_TARGET = "matched", "target"


def as_data(answer: Explanation) -> dict[str, Any]:
    """For `--json`."""
    data = answer.model_dump(mode="json")
    return {
        "verdict": data["verdict"],
        "reason": data["reason"],
        "target": data["target"],
        "policy_version": data["policy_version"],
        "pairs": data["pairs"],
        "uncovered": data["uncovered"],
        "matches": data["matches"],
        "terms": data["terms"],
        "row_bound": data["row_bound"],
        "recording": data["recording"],
        "cacheable": data["cacheable"],
        "undecided": data["undecided"],
        "refused_by_mask": data["refused_by_mask"],
        "rules": data["considered"],
        "masks": data["considered_masks"],
        "columns": {item.column: item.kind for item in answer.columns},
    }


def show(answer: Explanation, *, every: bool) -> None:
    """For people. Rules about other targets only with `every`."""
    out = console()
    out.print(Text(answer.verdict.upper(), style=_STYLES[answer.verdict]), end="")
    out.print(Text(f"  {escaped(answer.reason)}" if answer.reason else ""))
    for pair in answer.pairs:
        mark, style = ("no rule ", "red") if pair in answer.uncovered else ("covered ", "green")
        out.print(Text.assemble("  ", (mark, style), escaped(pair)))
    if answer.terms is not None:
        who = ", ".join(answer.terms.approvers)
        also = f"; also in {escaped(', '.join(answer.terms.channels))}" if answer.terms.channels else ""
        out.print(Text(f"  asks {escaped(who)}; held {answer.terms.hold:.0f} s; {answer.terms.uses} use(s){also}"))
    if answer.row_bound is not None:
        out.print(Text(f"  at most {answer.row_bound} changed rows"))
    out.print()
    rules = sorted(
        (report for report in answer.considered if every or report.stage != _OTHER_TARGET),
        key=lambda report: (report.stage != _MATCHED, not report.refuses, not report.pairs, report.rule),
    )
    print_table(
        ("rule", "verdict", "here", "because", "at"),
        [_rule_row(report) for report in rules],
        empty="There are no rules.",
    )
    if answer.columns or answer.considered_masks:
        out.print()
    for mask in answer.considered_masks:
        state = "applies" if mask.applies else f"does not apply: {mask.why}"
        out.print(Text(f"mask {escaped(mask.mask)} ({escaped(mask.kind)}) {escaped(state)}"))
    for item in answer.columns:
        text = f"column {escaped(item.column)}: {escaped(item.kind)} by {escaped(item.mask)}"
        out.print(Text(text, style="cyan"))


def _rule_row(report: RuleReport) -> tuple[str, ...]:
    if report.stage == _MATCHED:
        state, because = "matches", report.why or ", ".join(report.pairs)
    else:
        state, because = "refuses" if report.refuses else "no", f"{report.stage}: {report.why}"
    return report.rule, str(report.verdict), state, because, report.place
