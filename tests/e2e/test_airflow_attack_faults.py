"""AL-08, AL-03: what is slow, gone or broken on one side of the integration leaves the other standing.

Tasks' tokens are made by the tests, so that thirty requests can be thirty tasks' worth."""

from __future__ import annotations

import http.server
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import yaml

from taskgate.client import Client
from taskgate.demo.local_gateway import LocalGateway
from taskgate.domain import PrincipalKind
from taskgate.identity.scopes import Scope
from tests.e2e.airflow_api import Run, TaskInstance
from tests.e2e.airflow_forms import SOURCE
from tests.e2e.airflow_keyholders import KeyHolder, coordinates
from tests.e2e.airflow_tokens import ExecutionApi, TaskTokens
from tests.e2e.attack_out import AttackOut
from tests.e2e.real_airflow import RealAirflow
from tests.e2e.shop import APP_PASSWORD, Shop

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

MANY = 30
QUICKLY = 2.0


@dataclass(frozen=True)
class Sleeping:
    """A task that runs, and what its supervisor knows."""

    run: Run
    task: TaskInstance
    token: str
    api: ExecutionApi

    def at_once(self, conn_id: str, many: int = MANY) -> list[Future[httpx.Response]]:
        """So many requests for it, none waited for."""
        pool = ThreadPoolExecutor(many)
        asked = [pool.submit(self.api.connection, conn_id, self.token) for _ in range(many)]
        pool.shutdown(wait=False)
        return asked


@contextmanager
def sleeping(airflow: RealAirflow, out: AttackOut, seconds: int = 240) -> Iterator[Sleeping]:
    """Past the gateway, so that it goes on whatever becomes of that one."""
    airflow.wait_for_dags("attack_sleeps")
    run = airflow.admin.trigger("attack_sleeps", {"conn_id": "direct_db", "seconds": seconds})
    run.wait("sleeps", "running")
    airflow.until(lambda: out.of(run.run_id, "new"), 60)
    task = run.task("sleeps")
    api = ExecutionApi(airflow.url, timeout=60)
    try:
        yield Sleeping(run, task, TaskTokens(airflow.keys).of(task.id), api)
    finally:
        run.mark_run("failed")


@pytest.fixture
def stopped(airflow_shop: Shop) -> Iterator[Callable[[], None]]:
    """The gateway hangs, until the call."""
    pid = airflow_shop.gateway.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield lambda: os.kill(pid, signal.SIGCONT)
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.fixture
def killed(airflow_shop: Shop) -> Iterator[Callable[[], None]]:
    """The gateway is gone, until the call."""
    gateway = airflow_shop.gateway
    gateway.kill()
    try:
        yield lambda: gateway.start() and None
    finally:
        if gateway.process is None:
            gateway.start()


@pytest.fixture
def broken(airflow_shop: Shop) -> Iterator[Callable[[], None]]:
    """In the gateway's place is something that answers 500 to everything, until the call."""
    gateway = airflow_shop.gateway
    gateway.kill()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", gateway.api_port), _Broken)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()

    def mended() -> None:
        server.shutdown()
        server.server_close()
        gateway.start()

    try:
        yield mended
    finally:
        if gateway.process is None:
            mended()


class _Broken(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b"Traceback: something with password=hunter2"
        self.send_response(500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, *_: Any) -> None:
        pass


@pytest.mark.parametrize("how", ["stopped", "killed", "broken"])
def test_al_08_airflow_goes_on_while_the_gateway_does_not(
    real_airflow: RealAirflow, attack_out: AttackOut, how: str, request: pytest.FixtureRequest
) -> None:
    log = real_airflow.components["api-server"].log
    with sleeping(real_airflow, attack_out) as task:
        mend: Callable[[], None] = request.getfixturevalue(how)
        since = log.stat().st_size
        asked = task.at_once("shop_db")
        for _ in range(5):
            time.sleep(0.4)
            _all_else_is_answered(real_airflow, task)
        unmapped = _timed(lambda: task.api.connection("nobody_knows_it", task.token))
        assert unmapped.status_code == httpx.codes.NOT_FOUND
        # Even where the gateway hangs, within what it takes to give it up once, not once each.
        answers = [one.result(15) for one in asked]
        assert {one.status_code for one in answers} == {403}
        reason = task.api.reason("shop_db", task.token)
        assert reason is not None
        assert "gateway" in reason or "Taskgate" in reason
        said = log.read_bytes()[since:].decode(errors="replace")
        for text in (reason, said, *(one.text for one in answers)):
            assert APP_PASSWORD not in text
            assert task.token not in text
            assert "hunter2" not in text
        mend()
        real_airflow.until(lambda: task.api.connection("shop_db", task.token).is_success, 10)
        _all_else_is_answered(real_airflow, task)
        assert real_airflow.admin.run("attack_sleeps", task.run.run_id).task("sleeps").state == "running"


def _all_else_is_answered(airflow: RealAirflow, task: Sleeping) -> None:
    health = _timed(lambda: httpx.get(f"{airflow.url}/api/v2/monitor/health", timeout=10))
    assert health.is_success
    listed = _timed(lambda: airflow.admin.http.get(f"/api/v2{task.run.path}/taskInstances"))
    assert listed.is_success
    assert task.task.pid is not None
    beat = _timed(lambda: task.api.heartbeat(task.task.id, task.token, task.task.hostname, task.task.pid or 0))
    assert beat.status_code == httpx.codes.NO_CONTENT


def _timed(ask: Callable[[], httpx.Response]) -> httpx.Response:
    started = time.monotonic()
    answer = ask()
    taken = time.monotonic() - started
    assert taken < QUICKLY, f"{taken:.1f} s: {answer.request.url.path}"
    return answer


@pytest.fixture
def second_gateway(airflow_shop: Shop, tmp_path: Path) -> Iterator[LocalGateway]:
    """Another before the same shop, that knows the same Airflow and has less patience with it."""
    settings = yaml.safe_load(airflow_shop.gateway.config.read_text())
    known: Mapping[str, Any] = {**settings["airflow"][0], "timeout": "1s", "check_interval": "1s", "lost_after": "6s"}
    gateway = LocalGateway(
        tmp_path / "gateway",
        targets=[{name: value for name, value in one.items() if name != "secret"} for one in settings["targets"][:1]],
        secrets={settings["targets"][0]["name"]: APP_PASSWORD},
        policy=airflow_shop.gateway.policy_file.read_text(),
        settings={"airflow": [known]},
    )
    with gateway:
        yield gateway


def test_al_03_an_airflow_that_hangs_vouches_for_nobody(
    real_airflow: RealAirflow, second_gateway: LocalGateway, attack_out: AttackOut
) -> None:
    """The gateway stays up, issues nothing, and ends what nobody vouches for any more."""
    key = second_gateway.api_key(
        PrincipalKind.SERVICE, "airflow-api-server", [Scope.CREDENTIALS_EXCHANGE], [f"source:{SOURCE}"]
    )
    reads = second_gateway.api_key(PrincipalKind.USER, "rae", [Scope.CREDENTIALS_READ, Scope.SESSIONS_READ])
    exchanger = KeyHolder(second_gateway.url, key)
    server = real_airflow.components["api-server"].process
    assert server is not None
    with sleeping(real_airflow, attack_out) as task, Client(second_gateway.url, reads) as rae:
        at = coordinates(task.run, "sleeps")
        issued = exchanger.exchange(task.token, at).json()
        with psycopg.connect(issued["dsn"], autocommit=True) as session:
            assert session.execute("SELECT count(*) FROM public.orders").fetchone() is not None
            os.kill(server.pid, signal.SIGSTOP)
            try:
                gone = time.monotonic()
                answer = exchanger.exchange(task.token, at, timeout=10)
                assert (answer.status_code, answer.json()["code"]) == (503, "orchestrator_away")
                assert time.monotonic() - gone < 4
                assert _timed(lambda: httpx.get(f"{second_gateway.url}/readyz", timeout=10)).is_success
                session.execute("SELECT 1")  # not at once: Airflow may be restarting
                with pytest.raises(psycopg.OperationalError):
                    while time.monotonic() - gone < 45:
                        session.execute("SELECT 1")
                        time.sleep(0.3)
                assert 6 < time.monotonic() - gone < 30
                assert rae.credential(issued["id"]).confined_until is not None
                with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                    psycopg.connect(issued["dsn"])
                assert exchanger.exchange(task.token, at, timeout=10).status_code == httpx.codes.SERVICE_UNAVAILABLE
            finally:
                os.kill(server.pid, signal.SIGCONT)
    real_airflow.until(
        lambda: exchanger.exchange(task.token, at, timeout=10).status_code != httpx.codes.SERVICE_UNAVAILABLE, 30
    )
