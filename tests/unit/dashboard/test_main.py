from __future__ import annotations

import os
from typing import Any

import pytest

from taskgate_dashboard import __main__ as start


def test_it_listens_on_loopback_without_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(os, "execve", lambda path, command, env: seen.update(command=command, env=env))
    monkeypatch.setenv("TASKGATE_API_KEY", "tgk_everybodys")
    monkeypatch.setenv("TASKGATE_API_KEY_FILE", "/run/secrets/key")
    start.main(["--url", "http://127.0.0.1:9", "--port", "8600"])
    assert "--server.address=127.0.0.1" in seen["command"]
    assert "--server.port=8600" in seen["command"]
    assert "--browser.gatherUsageStats=false" in seen["command"]
    assert "--server.headless=true" in seen["command"]
    assert seen["env"]["TASKGATE_URL"] == "http://127.0.0.1:9"
    assert not [name for name in seen["env"] if name.startswith("TASKGATE_API_KEY")]
    assert start.APP.is_file()


def test_without_streamlit_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(start.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SystemExit) as ended:
        start.main([])
    assert ended.value.code == 2
    assert "pip install 'taskgate[dashboard]'" in capsys.readouterr().err
