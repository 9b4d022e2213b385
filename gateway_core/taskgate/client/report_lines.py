"""What the gateway knows of an attempt, as lines of a task's log: no statement, no parameter, no value."""

from __future__ import annotations

from collections.abc import Iterator

from taskgate.client.models import Approval, AttemptReport, Session


def report_lines(report: AttemptReport, dashboard: str | None = None) -> Iterator[str]:
    """One line for each of the attempt's sessions, oldest first, and one for each of its task's approvals. `dashboard`:
    its address, for links."""
    dashboard = (dashboard or "").rstrip("/") or None
    for session in sorted(report.sessions, key=lambda one: one.opened_at):
        yield session_line(session, dashboard)
    for approval in sorted(report.approvals, key=lambda one: one.requested_at):
        yield approval_line(approval, dashboard)


def session_link(session: Session, dashboard: str | None) -> str | None:
    """Where people read what it did."""
    return f"{dashboard}/timeline?id={session.id}" if dashboard else None


def session_line(session: Session, dashboard: str | None = None) -> str:
    said = [
        _count(session.actions, "statement") + " allowed",
        f"{session.refused} refused",
        _count(session.rows, "row"),
        _count(session.masked, "value") + " masked",
    ]
    if session.state == "open":  # the gateway brings its counts up to date now and then
        counted = session.actions or session.refused
        said = [*said, "so far: it is still open"] if counted else ["still open: the dashboard shows what it does"]
    line = f"Taskgate session {session.id} on {session.target}: {', '.join(said)}"
    return f"{line}. {url}" if (url := session_link(session, dashboard)) else line


def approval_link(approval: Approval, dashboard: str | None) -> str | None:
    """Where people decide it, or read what became of it."""
    return approval.url or (f"{dashboard}/approvals?id={approval.id}" if dashboard else None)


def approval_line(approval: Approval, dashboard: str | None = None, *, links: bool = True) -> str:
    line = f"Taskgate approval {approval.id} ({', '.join(approval.rules)}): {approval.state.value}"
    if approval.decided_by:
        line += f" by {_one_line(approval.decided_by)}"
    if approval.decided_at is not None:
        line += f" after {_length((approval.decided_at - approval.requested_at).total_seconds())}"
    if approval.comment:
        line += f': "{_one_line(approval.comment)}"'
    url = approval_link(approval, dashboard) if links else None
    return f"{line}. {url}" if url else line


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _length(seconds: float) -> str:
    whole = round(max(seconds, 0))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _one_line(text: str) -> str:
    """What people wrote must not forge a line of the log."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
