"""psql and pgbench through the gateway, unchanged."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.gateway import RunningGateway


def psql(
    dsn: str, script: str, *options: str, stdin: str | None = None, cwd: Path | None = None
) -> tuple[int, str, str]:
    done = subprocess.run(
        ["psql", "-X", *options, dsn, *(() if stdin is not None else ("-c", script))],
        input=stdin, capture_output=True, text=True, timeout=60, check=False, cwd=cwd,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


SETUP = """CREATE TABLE people (id int PRIMARY KEY, name text NOT NULL); CREATE INDEX ON people (name);
CREATE VIEW names AS SELECT name FROM people; INSERT INTO people VALUES (1, 'Ann'), (2, 'Bob')"""


@pytest.mark.parametrize(
    "command",
    [
        "\\d",
        "\\d people",
        "\\dt+",
        "\\dn",
        "\\df",
        "\\du",
        "\\l",
        "\\d+ names",
        "\\x on \\\\ SELECT * FROM people",
        "\\conninfo",
    ],
)
def test_what_psql_shows(gateway: RunningGateway, direct: str, setup: Callable[[str], None], command: str) -> None:
    setup(SETUP)
    expected, seen = psql(direct, "", stdin=command + "\n"), psql(gateway.dsn(), "", stdin=command + "\n")
    if command == "\\conninfo":
        assert seen[0] == 0
        assert "orders-db" in seen[1]
        return
    assert seen == expected


SCRIPT = """\\set ON_ERROR_STOP {stop}
SELECT * FROM people WHERE id = 1 \\gx
SELECT 1/0;
SELECT 'after' AS x;
BEGIN; INSERT INTO people VALUES (3, 'Eve'); SELECT * FROM nowhere; SELECT 2; COMMIT;
SELECT count(*) FROM people;
\\copy people TO STDOUT WITH CSV HEADER
\\copy people FROM STDIN
4\tFlo
\\.
SELECT name FROM people ORDER BY id \\gset last_
PREPARE p AS SELECT $1::int + 1; EXECUTE p(1);
SELECT $1::text \\bind hello \\g
"""


@pytest.mark.parametrize("stop", ["on", "off"])
def test_scripts(gateway: RunningGateway, direct: str, setup: Callable[[str], None], stop: str) -> None:
    results = []
    for dsn in (direct, gateway.dsn()):
        setup("DROP VIEW IF EXISTS names; DROP TABLE IF EXISTS people; " + SETUP)
        results.append(psql(dsn, "", stdin=SCRIPT.format(stop=stop)))
    assert results[1] == results[0]


def test_copy_from_a_file(gateway: RunningGateway, setup: Callable[[str], None], tmp_path: Path) -> None:
    setup(SETUP)
    (tmp_path / "more.csv").write_text("".join(f"{i},name {i}\n" for i in range(10, 5010)))
    assert psql(gateway.dsn(), "\\copy people FROM 'more.csv' CSV", cwd=tmp_path) == (0, "COPY 5000\n", "")
    assert psql(gateway.dsn(), "\\copy people TO 'all.txt'", cwd=tmp_path) == (0, "COPY 5002\n", "")
    assert len((tmp_path / "all.txt").read_text().splitlines()) == 5002


def test_pg_dump(gateway: RunningGateway, direct: str, setup: Callable[[str], None]) -> None:
    setup(SETUP)
    dumps = []
    for dsn in (direct, gateway.dsn()):
        done = subprocess.run(["pg_dump", dsn], capture_output=True, text=True, timeout=60, check=False)
        lines = [line for line in done.stdout.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]
        dumps.append((done.returncode, lines, done.stderr))
    assert dumps[0] == dumps[1]  # an older pg_dump refuses a newer server, on both paths


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
def test_pgbench(gateway: RunningGateway, direct: str, mode: str) -> None:
    subprocess.run(["pgbench", "-i", "-q", "-s", "1", direct], capture_output=True, check=True, timeout=60)
    done = subprocess.run(
        ["pgbench", "-n", "-M", mode, "-c", "3", "-t", "40", gateway.dsn()],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "number of transactions actually processed: 120/120" in done.stdout
    assert "number of failed transactions: 0" in done.stdout
