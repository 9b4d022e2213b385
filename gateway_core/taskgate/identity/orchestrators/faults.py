"""What goes wrong between the gateway and an orchestrator."""

from __future__ import annotations

from taskgate.errors import PolicyRefusal, TargetFault


class OrchestratorAway(TargetFault):
    """It does not answer, or not as it should: nothing can be verified, so nothing is issued."""


class AnswerTooLarge(OrchestratorAway):
    """It answers more than anybody here reads. Whoever asked for several asks for fewer: one may be the cause."""


class NotProven(PolicyRefusal):
    """The attempt has not proven what it has to. `code` is stable, for programs; the message never repeats a token."""

    def __init__(self, code: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


def id_taken(attempt_id: str) -> NotProven:
    return NotProven("attempt_id_taken", f"the gateway knows the attempt {attempt_id} as one of another task")
