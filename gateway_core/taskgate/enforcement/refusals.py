"""How a refusal reads. The same words on every protocol: what was refused, by which rule, why, and what to do next.

DETAIL is `name=value` lines, so that programs can read it as well (`rule`, `effect`, `session`, `approval`, `url`).
What a client chose (a quoted identifier may hold anything) or a person wrote stands in it escaped: it forges no line.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from taskgate.domain import Approval, ApprovalState, Missing, Pair
from taskgate.errors import PolicyRefusal, RuleMatch

if TYPE_CHECKING:
    from taskgate.policy.decision import Decision


def _visible(text: str) -> str:
    """On one line, and nothing in it that moves a reader's cursor or turns its direction."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _detail(**lines: str | Iterable[str] | None) -> str:
    text = []
    for name, value in lines.items():
        values = [value] if isinstance(value, str) else value or ()
        text += [f"{name}={_visible(entry)}" for entry in values]
    return "\n".join(text)


_MISSING = {  # as PostgreSQL says it
    "relation": ("42P01", 'relation "{}" does not exist'),
    "table": ("42P01", 'missing FROM-clause entry for table "{}"'),
    "column": ("42703", 'column "{}" does not exist'),
    "function": ("42883", "function {} does not exist"),
}


def denied(
    decision: Decision,
    pairs: tuple[Pair, ...],
    notes: tuple[str, ...],
    session_id: str,
    *,
    missing: Missing | None = None,
) -> PolicyRefusal:
    """Policy says no: a deny rule spoke, or nothing covers what the action does. `missing`: a name in it that the
    target does not have, so that no rule could speak about it; the client learns that, as it would from the target."""
    sqlstate = None
    denying = [match for match in decision.matches if match.verdict == "deny"]
    if denying:
        names = ", ".join(match.rule for match in denying)
        reason = next((match.reason for match in denying if match.reason), None)
        message = f"refused by rule {names}" + (f": {reason}" if reason else "")
        hint = "Ask the owners of the policy if this should be allowed."
    elif missing is not None:
        sqlstate, words = _MISSING[missing.kind]
        message = words.format(_visible(missing.name))
        hint = "The gateway found no such name in the target's catalogue and sent nothing."
    else:
        uncovered = decision.uncovered or pairs
        message = f"refused: no rule allows {', '.join(_visible(str(pair)) for pair in uncovered[:5])}"
        if decision.reason:
            message += f" ({decision.reason})"
        hint = (
            f"What no rule allows is refused. `taskgate policy explain --session {session_id} --sql -` reads the "
            "statement and shows which rules were considered; it wants an API key with policy:explain."
        )
    return PolicyRefusal(
        message if sqlstate else f"taskgate: {message}",
        rules=decision.matches,
        detail=_detail(
            rule=[match.rule for match in denying],
            effect=[str(pair) for pair in pairs[:20]],
            note=notes[:5],
            session=session_id,
        ),
        hint=hint,
        sqlstate=sqlstate,
    )


def read_only(pairs: tuple[Pair, ...], session_id: str) -> PolicyRefusal:
    """The principal's rules allow only reads, so its transactions are read-only and stay so."""
    return PolicyRefusal(
        "taskgate: refused: this principal's rules allow only reads, and its transactions stay read-only",
        detail=_detail(effect=[str(pair) for pair in pairs[:20]], session=session_id),
        hint="Leave READ WRITE out.",
    )


def only_asks(rules: tuple[RuleMatch, ...], pairs: tuple[Pair, ...], session_id: str) -> PolicyRefusal:
    """Nobody needs to be asked for it, and in this session nothing is changed."""
    return PolicyRefusal(
        "taskgate: no human is needed for this; nothing that changes anything runs in a session that only asks",
        rules=rules,
        detail=_detail(verdict="allow", effect=[str(pair) for pair in pairs[:20]], session=session_id),
        hint="Run it in a session of its own, without `taskgate.wait=ask`.",
    )


def attempt_over(pairs: tuple[Pair, ...], session_id: str) -> PolicyRefusal:
    """The task has told its orchestrator how it ended; what its callbacks still do is reading."""
    return PolicyRefusal(
        "taskgate: refused: the task attempt is over, and its callbacks may only read",
        detail=_detail(effect=[str(pair) for pair in pairs[:20]], session=session_id),
        hint="Write in the task itself, or in a task that follows it.",
    )


def where(approval_id: str, url: str | None) -> str:
    """Where an approver decides: on the dashboard's page, or without one in a terminal. To be followed by a blank:
    whatever else stands behind an address is taken for a part of it."""
    return f"at {url}" if url else f"with `taskgate approvals approve {approval_id}` (or `deny`)"


_NEEDS_RETRIES = ", so it needs one: in Airflow, `retries` of at least 1"


def of_approval(
    approval: Approval,
    url: str | None,
    session_id: str,
    *,
    waited: float | None = None,
    nobody: str | None = None,
    stands: bool = False,
) -> PolicyRefusal:
    """A human was asked and has not said yes: pending, denied, expired or withdrawn. `waited`: for so many seconds a
    connection waited, as long as it may. `nobody`: why nobody known could decide when it was asked. `stands`: it was
    answered before, and the answer is for the whole run."""
    rules = ", ".join(approval.rules)
    by = f" by {_visible(approval.decided_by)}" if approval.decided_by else ""
    why = f": {_visible(approval.comment)}" if approval.comment else ""
    hint = None
    pending = approval.state in (ApprovalState.PENDING, ApprovalState.APPROVED)
    match approval.state:
        case ApprovalState.APPROVED if stands:
            message = f"approval {approval.id} was given{by}{why}: nothing runs in a session that only asks"
            hint = "Run it in a session of its own, which uses the grant."
        case ApprovalState.PENDING | ApprovalState.APPROVED:
            after = f"nobody decided within {waited:.0f} s and " if waited is not None else ""
            message = f"rule {rules} wants a human to approve this; {after}approval {approval.id} is pending"
            place = where(approval.id, url)
            then = "a retry of the same task finds the grant" + (_NEEDS_RETRIES if waited is not None else "")
            hint = f"Ask an approver to decide {place} ({then})."
            if nobody:
                message += f", and nobody may decide it as things are: {_visible(nobody)}"
                hint = f"Ask whoever issues API keys for an approver, who decides {place} ({then})."
        case ApprovalState.DENIED:
            message = f"approval {approval.id} was denied{by}{why}"
        case ApprovalState.EXPIRED:
            message = f"approval {approval.id} expired before anybody decided"
            hint = "Run it again to ask again."
        case ApprovalState.WITHDRAWN:
            message = f"approval {approval.id} was withdrawn{by}{why}"
            if waited is not None:
                message = f"nobody decided after {waited:.0f} s: approval {approval.id} is withdrawn"
            if nobody:
                message += f"; when it was asked nobody could have: {_visible(nobody)}"
            hint = "Run it again to ask again, or connect with `taskgate.wait=refuse` to wait without a connection."
    if stands and approval.state in (ApprovalState.DENIED, ApprovalState.EXPIRED):
        hint = "The answer stands for this run; another run asks anew."
    return PolicyRefusal(
        f"taskgate: {message}",
        rules=tuple(RuleMatch(rule, "approve") for rule in approval.rules),
        detail=_detail(
            rule=approval.rules, session=session_id, approval=approval.id, state=str(approval.state), url=url
        ),
        hint=hint,
        approval_id=approval.id,
        approval_url=url,
        pending=pending,
    )


def overtaken(approval: Approval, url: str | None, session_id: str) -> PolicyRefusal:
    """A human said yes to what an older policy or catalogue made of the statement, or to an attempt that is over."""
    return PolicyRefusal(
        f"taskgate: refused: the policy or the catalogue changed while approval {approval.id} was waited for",
        rules=tuple(RuleMatch(rule, "approve") for rule in approval.rules),
        detail=_detail(rule=approval.rules, session=session_id, approval=approval.id, url=url),
        hint="Run it again: it is judged by what is in force now.",
        approval_id=approval.id,
        approval_url=url,
    )


def judged_anew(rules: tuple[RuleMatch, ...], session_id: str) -> PolicyRefusal:
    """What the statement was judged by was replaced before anybody could be asked."""
    return PolicyRefusal(
        "taskgate: refused: the policy, the catalogue or the state of the attempt changed while it was judged",
        rules=rules,
        detail=_detail(rule=tuple(match.rule for match in rules), session=session_id),
        hint="Run it again: it is judged by what is in force now.",
    )


def too_many_pending(why: str, rules: tuple[RuleMatch, ...], session_id: str) -> PolicyRefusal:
    """A human is asked no more by somebody who has asked so much."""
    return PolicyRefusal(
        f"taskgate: refused: {why}",
        rules=rules,
        detail=_detail(rule=tuple(match.rule for match in rules), session=session_id),
        hint="Wait until some are decided, or ask for one statement that does it all.",
    )


def stream_needs_permission(rules: tuple[RuleMatch, ...], session_id: str) -> PolicyRefusal:
    """An approver cannot see what is streamed after the decision, so a rule has to allow streams in so many words."""
    names = ", ".join(match.rule for match in rules if match.verdict == "approve")
    return PolicyRefusal(
        f"taskgate: refused: rule {names} wants a human to approve this, and nobody can approve data they do not see",
        rules=rules,
        detail=_detail(rule=names, session=session_id),
        hint="The rule may say `streams: allow`; or send the data as INSERT statements.",
    )
