"""An approval as Airflow's own human-in-the-loop page shows it: what a task's row has to say, to the letter.

A worker writes the row, so nothing in it is believed: an answer only counts where the row reads exactly as this does
for the request as the gateway has it, digest included (`airflow_answers.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from taskgate.domain import Approval
from taskgate.visible import is_plain, is_shown, point

APPROVE = "Approve"
DENY = "Deny"

_FENCE = re.compile(r"`{3,}")
_LONGEST_TEXT = 50_000


@dataclass(frozen=True, slots=True)
class AirflowPage:
    """What a human-in-the-loop row holds. `body` is Markdown."""

    subject: str
    body: str
    options: tuple[str, ...] = (APPROVE, DENY)


def page_of(approval: Approval, url: str | None) -> AirflowPage | None:
    """The page of a task's request; None where the rule does not let Airflow's page decide, where nobody could read the
    text there as a whole, or where it is not a task that asks."""
    task = approval.principal.task
    if task is None or "airflow" not in approval.terms.channels or len(approval.text) > _LONGEST_TEXT:
        return None
    effects = ", ".join(approval.pairs)
    facts = [
        ("Target", approval.target),
        ("Does", effects),
        (
            "Asked by",
            f"{approval.principal.name}, run {task.run_id}"
            + (f", map index {task.map_index}" if task.map_index >= 0 else ""),
        ),
        ("Rule", ", ".join(approval.rules)),
        ("May decide", ", ".join(approval.terms.approvers)),
    ]
    if approval.terms.max_rows is not None:
        facts.append(("At most", f"{approval.terms.max_rows} rows, or it is rolled back"))
    rows = (approval.estimate or {}).get("rows")
    if isinstance(rows, int | float):
        facts.append(("Estimated", f"{rows:.0f} rows"))
    facts += [("Approval", approval.id), ("Digest", approval.digest)]
    lines = ["Exactly this will run:", "", _fenced(approval.text), ""]
    if url:
        lines += [f"Bound parameters are not shown here, and are part of what you decide: [look at them]({url}).", ""]
    else:
        lines += [f"Bound parameters are not shown here: `taskgate approvals show {approval.id}`.", ""]
    lines += [f"- {name}: {_inline(value)}" for name, value in facts]
    return AirflowPage(f"Taskgate: {_visible(effects)} at {approval.target}"[:250], "\n".join(lines))


def _fenced(text: str) -> str:
    """As a block of code that nothing in the text ends early."""
    longest = max((len(found[0]) for found in _FENCE.finditer(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}sql\n{_visible(text, keep=chr(10) + chr(9))}\n{fence}"


def _inline(value: str) -> str:
    """As code on one line: no link, image or emphasis of somebody else's."""
    shown = _visible(value)
    longest = max((len(run) for run in re.findall(r"`+", shown)), default=0)
    quote = "`" * (longest + 1)
    pad = " " if "`" in shown else ""
    return f"{quote}{pad}{shown}{pad}{quote}"


def _visible(text: str, keep: str = "") -> str:
    """What could not be seen is spelled out, and what may look like something else is marked."""
    return "".join(
        one if is_plain(one) or one in keep else f"⟦{one} {point(one)}⟧" if is_shown(one) else f"⟦{point(one)}⟧"
        for one in text
    )
