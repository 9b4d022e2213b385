"""What `keep_memory_private` does to a process, seen from inside and from outside."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ASK = """
import ctypes, os, resource, signal
from taskgate.private_memory import keep_memory_private
resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
keep_memory_private()
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), flush=True)
os.kill(os.getpid(), signal.SIGABRT)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_no_core_file_and_no_debugger(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", ASK], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGABRT
    assert done.stdout.strip() == "(0, 0) 0"
    assert list(tmp_path.iterdir()) == []
