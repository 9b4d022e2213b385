"""When a gateway counts as hanging."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest

from taskgate.client import NotPermitted, ServiceFault
from taskgate_airflow import gateway_silence
from taskgate_airflow.gateway_silence import GatewaySilence


@pytest.mark.parametrize(
    ("fault", "after", "silent"),
    [
        (ServiceFault("no answer"), 4.0, True),
        (ServiceFault("refused"), 0.01, False),  # away, and says so at once
        (NotPermitted("no"), 4.0, False),  # slow, and answers
        (None, 4.0, False),
    ],
)
def test_it_hangs_where_it_was_waited_for_in_vain(
    monkeypatch: pytest.MonkeyPatch, fault: Exception | None, after: float, silent: bool
) -> None:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(gateway_silence, "time", SimpleNamespace(monotonic=lambda: clock.now))
    silence = GatewaySilence()
    assert not silence
    with contextlib.suppress(ServiceFault, NotPermitted), silence.noticed():
        clock.now += after
        if fault is not None:
            raise fault
    assert bool(silence) is silent
    clock.now += 3.1
    assert not silence
