"""A refusal of the gateway, read back from a driver's error (`taskgate.postgres_refusals`)."""

from taskgate.postgres_refusals import (
    ApprovalPending,
    Refusal,
    approval_id,
    refusal_text,
    refusals_in,
    session_in,
)

__all__ = ["ApprovalPending", "Refusal", "approval_id", "refusal_text", "refusals_in", "session_in"]
