"""A process that dies leaves no core. Each test first shows that this system does leave one, so that it can tell."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

_DIES = "import os; {}os.kill(os.getpid(), 11)"
_FORBIDS = "from taskgate import core_dumps; core_dumps.forbid(); "


def dumped(text: str, folder: Path) -> bool:
    """Whether the kernel wrote a core, to a file or to a handler."""

    def unlimited() -> None:
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))

    process = subprocess.Popen([sys.executable, "-c", text], cwd=folder, preexec_fn=unlimited)
    _, status = os.waitpid(process.pid, 0)
    process.returncode = -os.WTERMSIG(status)
    assert os.WTERMSIG(status) == 11
    return os.WCOREDUMP(status)


def test_no_core_is_left(tmp_path: Path) -> None:
    assert dumped(_DIES.format(""), tmp_path), "this system leaves cores (raise the hard limit: ulimit -Hc)"
    for file in tmp_path.iterdir():
        file.unlink()
    assert not dumped(_DIES.format(_FORBIDS), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux knows processes that are not dumpable")
def test_the_limit_is_not_all_that_keeps_it_from_a_core(tmp_path: Path) -> None:
    """Where cores go to a handler the limit does not apply: with the limit back where it was there is still none."""
    again = "import resource; resource.setrlimit = lambda *_: None; "
    assert not dumped(_DIES.format(again + _FORBIDS), tmp_path)
    assert list(tmp_path.iterdir()) == []
