"""Flow runs that wait for a human, and what they wait for."""

from __future__ import annotations

from taskgate.client import Approval
from tests.e2e.governed_prefect import GovernedPrefect
from tests.servers.prefect_api import FlowRun

WAITING = {"automatic": "Suspended", "pause": "Paused"}
"""What `approval_wait` makes of a flow run meanwhile."""


def last_order(governed_prefect: GovernedPrefect) -> int:
    """One that nobody else deletes."""
    return int(governed_prefect.shop.query("SELECT max(id) FROM orders")[0][0])


def there(governed_prefect: GovernedPrefect, order: int) -> bool:
    return bool(governed_prefect.shop.query(f"SELECT 1 FROM orders WHERE id = {order}"))


def ask(governed_prefect: GovernedPrefect, order: int, wait: str) -> tuple[FlowRun, Approval]:
    """A run that waits, and what it waits for."""
    run = governed_prefect.run("cleans", {"order": order, "wait": wait}, file="waits.py")
    run.wait(WAITING[wait])
    return run, asked(governed_prefect, run)


def asked(governed_prefect: GovernedPrefect, run: FlowRun) -> Approval:
    with governed_prefect.shop.client() as client:
        (approval,) = client.approvals(state=["pending"], run_id=run.id)
    return approval


def decide(governed_prefect: GovernedPrefect, approval: Approval, approve: bool = True) -> None:
    with governed_prefect.shop.client() as client:
        (client.approve if approve else client.deny)(approval.id, "by the test")


def done(governed_prefect: GovernedPrefect, run: FlowRun, order: int) -> None:
    run.completes()
    assert governed_prefect.noted(run, "deleted").fields["rows"] == 1
    assert not there(governed_prefect, order)
