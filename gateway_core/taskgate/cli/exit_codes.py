"""How a command ended, for scripts. docs/cli.md lists them."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    DONE = 0
    FAILED = 1  # a check found something wrong, or an error with no code of its own
    USAGE = 2  # wrong arguments, settings or request
    REFUSED = 3  # no valid API key, or it may not do this
    NOT_FOUND = 4
    CONFLICT = 5  # decided, revoked or closed already
    UNAVAILABLE = 6  # the gateway, its store or a target is out of reach
    NOT_APPROVED = 7  # denied, expired, withdrawn, or nobody decided in time
    INTERRUPTED = 130
