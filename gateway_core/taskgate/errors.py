"""Errors by whose fault they are. Each carries what its reader needs in order to act; none carries a secret.

`str(error)` is what people see. Protocols translate a fault into their own error (PostgreSQL: `sqlstate`)."""

from __future__ import annotations

from dataclasses import dataclass


class TaskgateError(Exception):
    """Base of all of ours. `detail` and `hint` are for people; `sqlstate` for PostgreSQL clients."""

    sqlstate = "XX000"

    def __init__(self, message: str, *, detail: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.hint = hint


class ClientFault(TaskgateError):
    """The client broke the protocol, or sent what the gateway does not carry. Ends at most its own session."""

    sqlstate = "08P01"


class AuthenticationFault(ClientFault):
    """The client did not prove who it is. The message never says which part was wrong."""

    sqlstate = "28P01"


class TargetFault(TaskgateError):
    """The target is out of reach, refused us or broke the protocol."""

    sqlstate = "08006"


class TooManySessions(TargetFault):
    """The target's session cap is reached."""

    sqlstate = "53300"


class GatewayFault(TaskgateError):
    """Ours: the journal cannot be written, the store is away, a value could not be masked. Always a refusal."""

    sqlstate = "58000"


class JournalFault(GatewayFault):
    """The journal cannot be written (disk full, I/O error): nothing new is let through until it can."""

    sqlstate = "58030"


class MaskingFault(GatewayFault):
    """A value that had to be masked could not be: the result is refused."""

    sqlstate = "58000"


class StoreFault(GatewayFault):
    """The store is out of reach: no new session, no grant."""

    sqlstate = "57P03"


class SettingsError(TaskgateError):
    """The settings file or environment is wrong; lists every problem, each with its place."""


class PolicyError(TaskgateError):
    """A policy file is wrong; lists every problem, each with file and line. The last good set stays in force."""


@dataclass(frozen=True, slots=True)
class RuleMatch:
    """A rule that spoke, and why: what a refusal or an explanation shows."""

    rule: str
    verdict: str
    reason: str | None = None


class PolicyRefusal(TaskgateError):
    """Policy said no (or: not yet). Not a fault: part of the interface.

    `rules` are the rules that spoke; `approval_id` and `approval_url` stand when a human is or was asked;
    `pending` is true when a retry will find the grant once it is given. `sqlstate`: where the refusal has a
    more telling one than 42501 (insufficient_privilege).
    """

    sqlstate = "42501"

    def __init__(
        self,
        message: str,
        *,
        rules: tuple[RuleMatch, ...] = (),
        detail: str | None = None,
        hint: str | None = None,
        approval_id: str | None = None,
        approval_url: str | None = None,
        pending: bool = False,
        sqlstate: str | None = None,
    ) -> None:
        super().__init__(message, detail=detail, hint=hint)
        if sqlstate is not None:
            self.sqlstate = sqlstate
        self.rules = rules
        self.approval_id = approval_id
        self.approval_url = approval_url
        self.pending = pending
