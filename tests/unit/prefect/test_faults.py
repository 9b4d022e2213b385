from __future__ import annotations

import pickle

import pytest

from taskgate_prefect import faults


@pytest.mark.parametrize(
    "kind",
    [
        faults.ApprovalLoop,
        faults.ApprovalRefused,
        faults.ApprovalTimeout,
        faults.GatewayNotConfigured,
        faults.NotInRun,
        faults.RunEnded,
    ],
)
def test_they_survive_a_process_boundary(kind: type[faults.GovernedFlowError]) -> None:
    again = pickle.loads(pickle.dumps(kind("what happened", detail="more", hint="what to do")))
    assert type(again) is kind
    assert (str(again), again.detail, again.hint) == ("what happened", "more", "what to do")
