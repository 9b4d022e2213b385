"""What statements that wait for a human cost the others: pgbench with and without 50 of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg

from bench.pgbench import run
from bench.rounds import Figure, ratio
from bench.stand import Stand

_PARKED = 50


@contextlib.contextmanager
def _waiting(stand: Stand) -> Iterator[None]:
    dsn = stand.dsn("gateway")
    connections = [psycopg.connect(dsn, autocommit=True) for _ in range(_PARKED)]
    with ThreadPoolExecutor(_PARKED) as pool:
        for number, connection in enumerate(connections):
            pool.submit(_delete, connection, number)
        try:
            _until_all_wait(connections)
            yield
        finally:
            for connection in connections:
                connection.cancel_safe(timeout=10)
    for connection in connections:
        connection.close()


def _delete(connection: psycopg.Connection, number: int) -> None:
    with contextlib.suppress(psycopg.Error):
        connection.execute(f"delete from public.people where id = {-number - 1}")


def _until_all_wait(connections: list[psycopg.Connection]) -> None:
    import time

    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if all(one.info.transaction_status == psycopg.pq.TransactionStatus.ACTIVE for one in connections):
            time.sleep(1)
            return
        time.sleep(0.05)
    raise RuntimeError("the statements do not wait")


def report(stand: Stand, rounds: int, seconds: int) -> None:
    figures = {"alone": Figure(), "beside 50 parked": Figure()}
    for number in range(rounds + 1):
        alone = run(stand, "gateway", "prepared", 4, seconds)
        with _waiting(stand):
            beside = run(stand, "gateway", "prepared", 4, seconds)
        if number:
            figures["alone"].values.append(alone)
            figures["beside 50 parked"].values.append(beside)
    print(f"\npgbench -S -M prepared, 4 clients, beside {_PARKED} statements that wait for a human; {rounds} rounds")
    for name, figure in figures.items():
        print(f"  {name:<17} {figure.median:>8.0f} tps   {ratio(figures, name, 'alone'):.2f}")
