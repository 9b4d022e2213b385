"""What Prefect shows of governed sessions: lines of the run's log, and an artifact a session. Counts, never values.

Nothing here fails a task: what happened is recorded at the gateway."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable, Iterator, Sequence

from prefect.artifacts import acreate_markdown_artifact, create_markdown_artifact

from taskgate.client.models import Approval, AttemptReport, Session
from taskgate.client.report_lines import approval_line, approval_link, session_line, session_link
from taskgate_prefect.approvals.prefect_calls import Log
from taskgate_prefect.credentials import AttemptCredential, in_this_process
from taskgate_prefect.gateway import TaskgateGateway
from taskgate_prefect.run_attempt import RunAttempt

_TIMEOUT = 2.0
_MOST_EFFECTS = 20
_OF_DRIVERS = ("sql.transaction ", "sql.session show", "sql.select pg_catalog.", "sql.select information_schema.")
_LOOKS = (0.02, 0.05, 0.1, 0.2)  # seconds between looks, until the gateway has counted what a closed session did


def report(gateway: TaskgateGateway, attempts: Sequence[RunAttempt], target: str, log: Log) -> None:
    """After their connections were closed."""
    for credential in _credentials(attempts, target):
        try:
            with credential.client(_TIMEOUT, tries=1) as client:
                said = client.attempt()
                for pause in _LOOKS:
                    if not _still_open(said, credential):
                        break
                    time.sleep(pause)
                    said = client.attempt()
            for one in _sessions(said, credential):
                _say(one, gateway.dashboard_url, log)
                create_markdown_artifact(**_artifact(*one, gateway.dashboard_url), _sync=True)  # type: ignore[call-arg]
        except Exception as fault:  # noqa: BLE001
            _silent(fault, log)


async def areport(gateway: TaskgateGateway, attempts: Sequence[RunAttempt], target: str, log: Log) -> None:
    """As `report`."""
    for credential in _credentials(attempts, target):
        try:
            async with credential.async_client(_TIMEOUT, tries=1) as client:
                said = await client.attempt()
                for pause in _LOOKS:
                    if not _still_open(said, credential):
                        break
                    await asyncio.sleep(pause)
                    said = await client.attempt()
            for one in _sessions(said, credential):
                _say(one, gateway.dashboard_url, log)
                await acreate_markdown_artifact(**_artifact(*one, gateway.dashboard_url))
        except Exception as fault:  # noqa: BLE001
            _silent(fault, log)


def _credentials(attempts: Iterable[RunAttempt], target: str) -> list[AttemptCredential]:
    """The newest of each attempt that had any."""
    found = (in_this_process.newest(attempt, target) for attempt in attempts)
    return [credential for credential in found if credential is not None]


def _still_open(said: AttemptReport, credential: AttemptCredential) -> bool:
    return any(one.state == "open" for one in said.sessions if one.target == credential.issued.target)


def _sessions(said: AttemptReport, credential: AttemptCredential) -> Iterator[tuple[Session, list[Approval]]]:
    """Each once a process, with what it asked for, and what it did that had been approved before."""
    for session in sorted(said.sessions, key=lambda one: one.opened_at):
        if session.target == credential.issued.target and in_this_process.first_seen(credential.attempt, session.id):
            yield session, [one for one in said.approvals if session.id in (one.session_id, *one.used_in)]


def _say(found: tuple[Session, list[Approval]], dashboard: str | None, log: Log) -> None:
    session, approvals = found
    log.info("%s", session_line(session, dashboard))
    for approval in approvals:
        log.info("%s", approval_line(approval, dashboard))


def _artifact(session: Session, approvals: Sequence[Approval], dashboard: str | None) -> dict[str, str]:
    dashboard = (dashboard or "").rstrip("/") or None
    link = session_link(session, dashboard)
    principal = session.principal
    lines = [
        f"## Session on {_text(session.target)}",
        "",
        f"[{session.id}]({link})" if link else f"`{session.id}`",
        "",
        "| | |",
        "|---|---|",
        f"| as | {_text(principal.label)} ({principal.assurance.value}, {_text(principal.verified_by)}) |",
        f"| statements | {session.actions} |",
        f"| refused | {session.refused} |",
        f"| rows | {session.rows} |",
        f"| values masked | {session.masked} |",
        f"| effects | {_effects(session.effects)} |",
        f"| state | {_text(session.state)} |",
    ]
    if approvals:
        lines += ["", "### Approvals", ""]
        lines += [_approval(one, dashboard) for one in sorted(approvals, key=lambda one: one.requested_at)]
    key = re.sub(r"[^a-z0-9]+", "-", f"taskgate-{session.target.lower()}").strip("-")
    return {"markdown": "\n".join(lines), "key": key, "description": f"Taskgate session {session.id}"}


def _approval(approval: Approval, dashboard: str | None) -> str:
    link = approval_link(approval, dashboard)
    line = _text(approval_line(approval, links=False))
    return f"- {line} ([open](<{link}>))" if link else f"- {line}"


def _effects(found: Sequence[str]) -> str:
    """Without what drivers do in every session: begins and commits, and questions about the catalogue."""
    effects = [one for one in found if " " in one and not one.startswith(_OF_DRIVERS)]
    shown = ", ".join(_text(one) for one in effects[:_MOST_EFFECTS])
    more = f" and {len(effects) - _MOST_EFFECTS} more" if len(effects) > _MOST_EFFECTS else ""
    return (shown or "none") + more


def _text(text: str) -> str:
    """In a table of Markdown: names may hold anything."""
    shown = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
    return re.sub(r"([\\`*_{}\[\]<>|#!])", r"\\\1", shown)


def _silent(fault: Exception, log: Log) -> None:
    log.debug("Taskgate did not say what it made of this session: %s", type(fault).__name__)
