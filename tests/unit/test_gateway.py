"""What a gateway says when it cannot start."""

from __future__ import annotations

import socket

import pytest

from taskgate.errors import SettingsError
from taskgate.gateway import _listen
from taskgate.settings import PostgresSettings
from tests.servers.gate import ScriptedGate, loopback_target


async def test_a_busy_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"cannot listen on 127\.0\.0\.1:{port}: .*in use") as refused:
            await _listen(ScriptedGate(loopback_target(1), "secret"), PostgresSettings(port=port))  # type: ignore[arg-type]
    assert refused.value.hint is not None
    assert "another gateway" in refused.value.hint
