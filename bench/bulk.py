"""A large result with two masked columns and detectors on, against a direct connection; the gateway's memory meanwhile;
and whether any masked value came out in clear on any path."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import psycopg

from bench.raw_client import RawClient
from bench.rounds import interleave, ratio
from bench.stand import Stand

QUERY = "select * from public.people"


def _measure(stand: Stand, way: str) -> Callable[[], tuple[float, Mapping[str, float]]]:
    process = stand.processes.get(way)

    def measure() -> tuple[float, Mapping[str, float]]:
        user, password, database = stand.login(way)
        with RawClient(stand.ways[way], user, password, database) as client:
            before = process.cpu_seconds() if process else 0.0
            started = time.perf_counter()
            size, first = client.query(QUERY)
            seconds = time.perf_counter() - started
            used = process.cpu_seconds() - before if process else 0.0
        return stand.people / seconds, {"mib": size / 2**20, "first_ms": first * 1000, "cpu_s": used}

    return measure


def report(stand: Stand, rounds: int) -> None:
    gateway = stand.processes["gateway"]
    idle = gateway.resident_mib()
    gateway.reset_peak()
    figures = interleave({way: _measure(stand, way) for way in stand.ways}, rounds)
    print(f"\nbulk read, {stand.people} rows of 10 columns, 2 of them masked, 4 detectors on; {rounds} rounds")
    for way, figure in figures.items():
        print(
            f"  {way:<10} {figure.median:>9.0f} rows/s   {ratio(figures, way, 'direct'):.2f} of direct   "
            f"first byte {figure.extra_median('first_ms'):.1f} ms   CPU {figure.extra_median('cpu_s'):.2f} s"
        )
    print(f"  the gateway's memory: {idle:.0f} MiB before, +{gateway.peak_mib() - idle:.0f} MiB at its peak")


def report_leaks(stand: Stand) -> None:
    """Every way out of DESIGN's list that a client can take, searched for real values."""
    with psycopg.connect(stand.server.dsn("bench")) as owner:
        rows = owner.execute("select email, ssn from public.people order by id limit 2000").fetchall()
    real = {value.encode() for row in rows for value in row}
    seen = 0
    columns = "id, name, email, ssn, remark"
    limited = f"select {columns} from public.people where id <= 2000"
    with psycopg.connect(stand.dsn("gateway"), autocommit=True) as client:
        answers: list[bytes] = []
        for binary in (False, True):
            with client.cursor(binary=binary) as cursor:
                answers += [str(row).encode() for row in cursor.execute(limited).fetchall()]
                answers += [str(row).encode() for row in cursor.execute(limited, prepare=True).fetchall()]
        for options in ("", " with (format csv)"):
            with client.cursor().copy(f"copy ({limited}) to stdout{options}") as copy:
                answers += [bytes(chunk) for chunk in copy]
        with client.transaction(), client.cursor(name="declared") as cursor:
            answers += [str(row).encode() for row in cursor.execute(limited).fetchall()]
        for text in LEAKY:
            try:
                answers.append(str(client.execute(text).fetchall()).encode())
            except psycopg.Error as error:
                answers.append(str(error).encode())
    output = b"\n".join(answers)
    seen = sum(value in output for value in real)
    print(f"\nmasked values: {seen} of {len(real)} real ones in {len(output)} bytes that came out of the gateway")


LEAKY = (
    "select ssn::int from public.people where id = 1",
    "select row_to_json(people) from public.people where id = 1",
    "select people from public.people where id = 1",
    "select string_agg(ssn, ',') from public.people where id < 10",
    "select id from public.people where ssn like '001%'",
    "select email || '' from public.people where id = 1",
    "explain (analyze, verbose) select ssn from public.people where id = 1",
    "select max(email) from public.people",
    "select note from public.people group by note, ssn limit 5",
)
