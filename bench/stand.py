"""Everything that is measured against: PostgreSQL 15, a plain C relay, pgbouncer (session pooling) and the gateway, all
on loopback, all in front of the same server, as real processes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import psycopg

from bench.process import Process
from taskgate.demo.local_gateway import LocalGateway
from taskgate.demo.postgres_server import PostgresServer, debian_bin, free_port
from taskgate.domain import PrincipalKind
from taskgate.identity.scopes import Scope

DATABASE = "bench"
USER = "bench"
PASSWORD = "bench-only"
TARGET = "bench-db"

POLICY = """\
version: 1
rules:
  - id: bench-reads
    match: {targets: [bench-db], effects: [sql.select, sql.copy_out], objects: ["public.*"]}
    verdict: allow
  - id: bench-writes
    match: {targets: [bench-db], effects: [sql.insert, sql.update], objects: ["public.*"]}
    verdict: allow
  - id: bench-asks
    match: {targets: [bench-db], effects: [sql.delete], objects: ["public.*"]}
    verdict: approve
    approval: {from: ["group:nobody"], hold: 10m}
masks:
  - {targets: [bench-db], columns: [public.people.email, public.people.ssn], with: redact}
  - {targets: [bench-db], detect: [email, credit_card, us_ssn, iban], with: redact}
"""

_PEOPLE = """
create table people as
select n as id, 'Person ' || n as name, 'person' || n || '@example.org' as email,
       lpad((n % 899 + 1)::text, 3, '0') || '-' || lpad((n % 98 + 1)::text, 2, '0')
         || '-' || lpad((n % 9998 + 1)::text, 4, '0') as ssn,
       n * 3.25 as amount, now() - n * interval '1 minute' as at, md5(n::text) as note, n % 100 as city,
       n % 7 = 0 as active, 'order ' || n || ' of this year' as remark
from generate_series(1, $1::int) n
"""


class Stand:
    """`ways` maps a name to the port to connect to; `dsn(way)` has that way's credential in it."""

    def __init__(self, directory: Path, *, scale: int = 10, people: int = 300_000) -> None:
        self.directory = directory
        self.scale = scale
        self.people = people
        self.server = PostgresServer(
            debian_bin(), directory / "postgres", settings={"shared_buffers": "512MB", "synchronous_commit": "off"}
        )
        self.processes: dict[str, Process] = {}
        self.gateway: LocalGateway
        self._credential: tuple[str, str] = ("", "")

    def __enter__(self) -> Stand:
        directory = self.directory
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o711)
        self.server.start()
        self._fill()
        relay = directory / "relay"
        source = Path(__file__).with_name("relay.c")
        subprocess.run(["cc", "-O2", "-o", str(relay), str(source)], check=True)
        port = free_port()
        self.processes["C relay"] = Process(
            str(relay), str(port), str(self.server.port), port=port, log=directory / "relay.log"
        )
        self.processes["pgbouncer"] = self._pgbouncer()
        self.gateway = LocalGateway(
            directory / "gateway",
            targets=[
                {
                    "name": TARGET, "host": "127.0.0.1", "port": self.server.port, "database": DATABASE,
                    "user": USER, "tls": "disable", "max_sessions": 500,
                }
            ],
            secrets={TARGET: PASSWORD},
            policy=POLICY,
            settings={"core_dumps": True},  # else its memory is nobody's to measure
        )  # fmt: skip
        key = self.gateway.api_key(PrincipalKind.USER, "bench", [Scope.CREDENTIALS_ISSUE, Scope.TARGETS_READ])
        self.gateway.start()
        self.processes["gateway"] = Process.running(self.gateway.pid)
        from taskgate.client import Client

        with Client(self.gateway.url, key) as client:
            issued = client.issue_credential(TARGET, ttl=86_400.0)
        self._credential = (issued.user, issued.password.get_secret_value())
        return self

    def __exit__(self, *_: object) -> None:
        for name in ("C relay", "pgbouncer"):
            if name in self.processes:
                self.processes[name].stop()
        if hasattr(self, "gateway"):
            self.gateway.stop()
        self.server.stop()

    @property
    def ways(self) -> dict[str, int]:
        return {
            "direct": self.server.port,
            "C relay": self.processes["C relay"].port,
            "pgbouncer": self.processes["pgbouncer"].port,
            "gateway": self.gateway.postgres_port,
        }

    def login(self, way: str) -> tuple[str, str, str]:
        """(user, password, database)"""
        if way == "gateway":
            return (*self._credential, DATABASE)
        return USER, PASSWORD, DATABASE

    def dsn(self, way: str) -> str:
        user, password, database = self.login(way)
        return f"postgresql://{user}:{password}@127.0.0.1:{self.ways[way]}/{database}"

    def _fill(self) -> None:
        with psycopg.connect(self.server.dsn(), autocommit=True) as admin:
            admin.execute(f"create role {USER} login password '{PASSWORD}'")
            admin.execute(f"create database {DATABASE} owner {USER}")
        environment = os.environ | {"PGPASSWORD": PASSWORD}
        subprocess.run(
            [str(debian_bin() / "pgbench"), "-i", "-q", "-s", str(self.scale), "-h", "127.0.0.1",
             "-p", str(self.server.port), "-U", USER, DATABASE],
            env=environment, check=True, capture_output=True,
        )  # fmt: skip
        with psycopg.connect(self.server.dsn(DATABASE, USER, PASSWORD), autocommit=True) as owner:
            owner.execute(_PEOPLE.replace("$1", str(self.people)))
            owner.execute("vacuum analyze people")

    def _pgbouncer(self) -> Process:
        port = free_port()
        folder = self.directory / "pgbouncer"
        folder.mkdir(exist_ok=True)
        (folder / "users.txt").write_text(f'"{USER}" "{PASSWORD}"\n')
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\n{DATABASE} = host=127.0.0.1 port={self.server.port} dbname={DATABASE}\n[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\n"
            f"auth_type = scram-sha-256\nauth_file = {folder}/users.txt\n"
            "pool_mode = session\nmax_client_conn = 500\ndefault_pool_size = 100\nunix_socket_dir =\n"
            "ignore_startup_parameters = extra_float_digits\nlogfile =\npidfile =\n"
        )
        command = [shutil.which("pgbouncer") or "/usr/sbin/pgbouncer", "-q", str(folder / "pgbouncer.ini")]
        if os.geteuid() == 0:
            folder.chmod(0o755)
            command[1:1] = ["-u", "nobody"]
        return Process(*command, port=port, log=self.directory / "pgbouncer.log")
