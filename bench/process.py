"""A process beside the measurement: started, waited for until it listens, its CPU seconds and memory read, ended."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path


class Process:
    """CPU seconds and resident memory are Linux's (/proc), of this process without its children."""

    def __init__(self, *command: str, port: int, log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.port = port
        self.log = log
        with log.open("wb") as output:
            self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **(environment or {})},
            )
        self.pid = self._process.pid
        self._wait_until_it_listens()

    @classmethod
    def running(cls, pid: int) -> Process:
        """A process that somebody else started and will end."""
        self = cls.__new__(cls)
        self._process, self.pid, self.port = None, pid, 0
        return self

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self) -> float:
        return self._status("VmRSS")

    def peak_mib(self) -> float:
        return self._status("VmHWM")

    def reset_peak(self) -> None:
        with contextlib.suppress(PermissionError):  # of a gateway only root may; the peak is then that since its start
            Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _status(self, name: str) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) / 1024
        raise RuntimeError(f"/proc has no {name}")

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"nothing listens on {self.port}: {self.log.read_text(errors='replace')[-2000:]}")
