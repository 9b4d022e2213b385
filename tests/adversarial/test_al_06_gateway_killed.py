"""AL-06: kill -9 of the gateway at any moment, under load, loses no record of an action that reached the target.

The target's own log is the other side's word: every statement in it must stand in a recording, and the recordings must
verify.
"""

from __future__ import annotations

import contextlib
import random
import re
import threading
import time
from collections.abc import Callable

import psycopg
import pytest

from taskgate.demo.server_log import statements
from taskgate.demo.stage import TARGET, Stage
from taskgate.recording.keys import PublicKey
from taskgate.recording.recordings import Recordings
from taskgate.recording.verify import verify

_TAG = re.compile(r"/\* (tag-\d+-\d+) \*/")


class Load:
    """Clients that run tagged statements as fast as they can, and connect again when the gateway is gone."""

    def __init__(self, dsn: str, clients: int) -> None:
        self._dsn = dsn
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(clients)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(self._dsn, autocommit=True, connect_timeout=2)

    def _run(self, number: int) -> None:
        count = 0
        while not self._over.is_set():
            with contextlib.suppress(psycopg.OperationalError), self._connect() as connection:
                while not self._over.is_set():
                    count += 1
                    tagged = f"select id from public.orders where id = {count} /* tag-{number}-{count} */"
                    connection.execute(tagged, prepare=False)
                    connection.execute(tagged.replace(f"{count} /*", "%s /*"), (count,))
            time.sleep(0.02)


def recorded_tags(stage: Stage) -> set[str]:
    recordings = Recordings(stage.gateway.directory / "data")
    with stage.client("rae") as rae:
        sessions = [session.id for session in rae.sessions()]
    found: set[str] = set()
    for session in sessions:
        for record in recordings.read(session):
            if record.kind == "action" and record.content and record.content["text"]:
                found.update(_TAG.findall(record.content["text"]))
    return found


def check_kills(start_stage: Callable[..., Stage], kills: int) -> None:
    stage = start_stage()
    random_ = random.Random(6)
    with stage.client("dana") as dana:
        dsn = dana.issue_credential(TARGET, ttl=86_400.0).dsn.get_secret_value()
    load = Load(dsn, clients=4)
    try:
        for _ in range(kills):
            time.sleep(random_.uniform(0.05, 0.8))
            stage.gateway.kill()
            stage.gateway.start()
        time.sleep(0.3)
    finally:
        load.stop()
    stage.gateway.stop()
    stage.gateway.start()
    reached = {tag for one in statements(stage.postgres.log_file) for tag in _TAG.findall(one.text)}
    assert len(reached) > 20 * kills, "there was hardly any load"
    lost = reached - recorded_tags(stage)
    assert not lost, f"{len(lost)} of {len(reached)} statements reached the target unrecorded: {sorted(lost)[:5]}"
    data = stage.gateway.directory / "data"
    found = verify(data, public_keys=[PublicKey.parse((data / "keys" / "checkpoint.pub").read_bytes())])
    assert found.ok, str(found.first)


@pytest.mark.timeout(300)
def test_al_06_gateway_killed_under_load(start_stage: Callable[..., Stage]) -> None:
    check_kills(start_stage, kills=5)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_al_06_gateway_killed_two_hundred_times(start_stage: Callable[..., Stage]) -> None:
    check_kills(start_stage, kills=200)
