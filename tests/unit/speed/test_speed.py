"""Which form runs, and that there is a choice."""

from __future__ import annotations

import os
import subprocess
import sys

from taskgate import speed
from taskgate.speed import plain
from tests.unit.speed.forms import compiled


def test_compiled_is_what_runs() -> None:
    assert speed.COMPILED is (os.environ.get("TASKGATE_PURE_PYTHON") != "1")


def test_python_can_be_forced() -> None:
    code = "from taskgate import speed; print(speed.COMPILED, speed.views.__module__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TASKGATE_PURE_PYTHON": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "taskgate.speed.plain.views"]


def test_every_name_is_in_both() -> None:
    for name in speed.__all__:
        if name != "COMPILED":
            assert hasattr(compiled, name)
            assert hasattr(plain, name)
