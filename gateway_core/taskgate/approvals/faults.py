"""What can be wrong with a request, or with a decision."""

from __future__ import annotations

from taskgate.domain import Approval, ApprovalState
from taskgate.errors import ClientFault, PolicyRefusal


class TooManyPending(PolicyRefusal):
    """Whoever asks has asked for more than anybody decides."""


class ApprovalUnknown(ClientFault):
    """There is no approval with this id."""


class ApprovalClosed(ClientFault):
    """The approval is no longer pending: somebody decided, or it ended."""

    def __init__(self, approval: Approval) -> None:
        by = f" by {approval.decided_by}" if approval.decided_by else ""
        super().__init__(f"The approval is already {_ended_as(approval)}{by}.")
        self.approval = approval


def _ended_as(approval: Approval) -> str:
    # A pending one that could not be decided is past its time; the sweep has not come by yet.
    return ApprovalState.EXPIRED.value if approval.state is ApprovalState.PENDING else approval.state.value
