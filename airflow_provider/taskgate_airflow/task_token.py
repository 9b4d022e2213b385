"""The token by which a task instance proves itself to Airflow's API server, for as long as its request is answered.

Nothing here verifies it. Airflow's own route does before any secrets backend is asked, and the gateway does before it
issues anything: whoever reads a token here may look something up by it, never decide by it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from uuid import UUID

_LONGEST = 16 * 1024  # of a header; Airflow's tokens have less than one


@dataclass(frozen=True, slots=True)
class TaskToken:
    """The token, and the task instance's uuid that it claims."""

    text: str = field(repr=False)
    attempt_id: str

    @classmethod
    def read(cls, authorization: bytes) -> TaskToken | None:
        """From an Authorization header; None for anything that is no bearer's JWT whose subject is a uuid."""
        if len(authorization) > _LONGEST:
            return None
        try:
            scheme, _, text = authorization.decode("ascii").strip().partition(" ")
            payload = text.strip().split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            attempt_id = str(UUID(claims["sub"]))
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
            return None
        return cls(text.strip(), attempt_id) if scheme.lower() == "bearer" else None


_current: ContextVar[TaskToken | None] = ContextVar("taskgate_task_token", default=None)


def current_token() -> TaskToken | None:
    """The token of the request that is being answered, in its task and in the threads that work for it."""
    return _current.get()


_describing: ContextVar[bool] = ContextVar("taskgate_describing", default=False)


def only_describes() -> bool:
    """Whether the request that is being answered is Airflow's connection test, which looks up what is stored before it
    connects by itself: it is told what a connection is mapped to, and given nothing to connect with."""
    return _describing.get()


@contextmanager
def describing() -> Iterator[None]:
    """Connections are only described."""
    reset = _describing.set(True)
    try:
        yield
    finally:
        _describing.reset(reset)


@contextmanager
def presented(token: TaskToken | None) -> Iterator[None]:
    """`token` is the current one."""
    reset = _current.set(token)
    try:
        yield
    finally:
        _current.reset(reset)
