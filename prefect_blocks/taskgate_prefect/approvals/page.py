"""What Prefect's page shows of an approval, and what a resume says. It decides nothing: the gateway does."""

from __future__ import annotations

from typing import Final, Literal

from prefect.input import RunInput

from taskgate.client import Approval

LOOK_AGAIN: Final = "look again"
_MOST_SHOWN = 20


class ApprovalDecision(RunInput):
    """What the gateway says when it resumes the run. Whatever stands in it, the run asks the gateway itself: resuming
    by hand makes it look again, and wait on where nobody has decided."""

    approval_id: str
    decision: Literal["look again", "approved", "denied", "expired", "withdrawn"] = LOOK_AGAIN


def decision_form(approval: Approval) -> type[ApprovalDecision]:
    """The form of one pause, filled in."""
    return ApprovalDecision.with_initial_data(description=description(approval), approval_id=approval.id)


def description(approval: Approval) -> str:
    """Markdown: where to decide, which rule asks, what the statement does to what. Neither the statement nor a
    parameter: those are for the approver, and the gateway records who has seen them."""
    where = (
        f"[Decide in Taskgate]({approval.url})"
        if approval.url
        else f"Decide: `taskgate approvals approve {approval.id}`"
    )
    lines = [
        f"**A human is asked about a statement on {_code(approval.target)}.** {where}",
        "",
        f"- Approval: {_code(approval.id)}, until {approval.expires_at:%Y-%m-%d %H:%M} UTC",
        f"- Rule: {', '.join(_code(rule) for rule in approval.rules)}",
        f"- Approvers: {', '.join(_code(one) for one in approval.terms.approvers)}",
    ]
    pairs = approval.pairs[:_MOST_SHOWN]
    lines += [f"- Does: {_code(pair)}" for pair in pairs]
    if more := len(approval.pairs) - len(pairs):
        lines.append(f"- and {more} more")
    lines += ["", "Resuming the run here decides nothing: it only makes the run look again."]
    return "\n".join(lines)


def _code(text: str) -> str:
    """As code that ends where it should: names may hold anything."""
    visible = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
    return "`" + visible.replace("`", "'") + "`"
