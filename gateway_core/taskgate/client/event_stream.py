"""Server-sent events as the control API sends them: one line of data each, comments in between."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pydantic import ValidationError

from taskgate.client.errors import UnexpectedAnswer
from taskgate.client.models import ApprovalEnded, WatchStarted


async def approval_events(lines: AsyncIterator[str]) -> AsyncIterator[WatchStarted | ApprovalEnded]:
    """What the lines of `GET /v1/approvals/watch` say. Raises UnexpectedAnswer for what this client does not read."""
    kind, data = "", ""
    async for line in lines:
        name, _, value = line.partition(":")
        if name == "event":
            kind = value.strip()
        elif name == "data":
            data = value.strip()
        elif not line:
            if data and (event := _event(kind, data)):
                yield event
            kind, data = "", ""


def _event(kind: str, data: str) -> WatchStarted | ApprovalEnded | None:
    """None: a kind of event that this version does not know."""
    try:
        if kind == "start":
            return WatchStarted.model_validate_json(data)
        return ApprovalEnded.model_validate_json(data) if not kind else None
    except ValidationError:
        raise UnexpectedAnswer("an event of the stream is not what this client version understands") from None
