from __future__ import annotations

import re
from uuid import uuid4

import pytest
from prefect.exceptions import Pause
from prefect.states import Cancelled, Cancelling, Paused, Running, Suspended

from taskgate_prefect import compat


def test_outside_of_a_flow_run_there_is_none() -> None:
    assert compat.running_flow() is None


@pytest.mark.parametrize(("suspended", "name"), [(True, "Suspended"), (False, "Paused")])
def test_a_pause_carries_its_key_and_where_its_inputs_are(suspended: bool, name: str) -> None:
    state, keys = compat.paused_state("apr_01ABC-f00", 90.7, suspended=suspended)
    assert state.name == name
    assert state.state_details.pause_key == "apr_01ABC-f00"
    assert state.state_details.pause_reschedule is suspended
    assert state.state_details.run_input_keyset == keys
    assert set(keys) == {"description", "response", "schema"}
    for key in keys.values():
        assert re.fullmatch(r"[a-z0-9-]+", key), "Prefect refuses anything else"
    assert compat.is_suspended(state) is suspended
    assert compat.pause_key(state) == "apr_01ABC-f00"


def test_states_are_told_apart() -> None:
    assert compat.is_running(Running())
    assert not compat.is_running(Paused())
    assert compat.is_paused(Suspended())
    assert compat.is_over(Cancelling())
    assert compat.is_over(Cancelled())
    assert not compat.is_over(Paused())
    for told in (compat.is_running, compat.is_paused, compat.is_over, compat.is_suspended):
        assert not told(None)


def test_leaving_is_prefects_own_signal_and_stops_other_threads() -> None:
    from prefect._flow_run_suspension import FlowRunSuspensionRequest, register_flow_run_suspension_request

    run, request, state = uuid4(), FlowRunSuspensionRequest(), Suspended()
    with register_flow_run_suspension_request(run, request):
        with pytest.raises(Pause) as left:
            compat.leave(run, state)
        assert left.value.state is state
        assert request.is_requested()
