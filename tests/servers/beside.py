"""A second gateway process on the settings, and so on the store, of one that runs already."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from taskgate.demo.local_gateway import LocalGateway
from taskgate.demo.postgres_server import free_port


@dataclass(frozen=True)
class Beside:
    process: subprocess.Popen[bytes]
    postgres_port: int
    url: str


@contextmanager
def gateway_beside(gateway: LocalGateway) -> Iterator[Beside]:
    """Ready, and as old as it takes for both to have heard of each other."""
    api, port = free_port(), free_port()
    log = gateway.directory / f"beside-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "taskgate.cli", "serve", "--config", str(gateway.config)],
            env={**os.environ, "TASKGATE_API__PORT": str(api), "TASKGATE_POSTGRES__PORT": str(port)},
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    url = f"http://127.0.0.1:{api}"
    try:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            try:
                if httpx.get(f"{url}/readyz", timeout=2).status_code == httpx.codes.OK:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        time.sleep(4)
        yield Beside(process, port, url)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(15)
