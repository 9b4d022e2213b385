"""A stand-in for the gateway's control API as a flow run and its worker see it: what the real one answers is shown in
`tests/e2e/test_prefect_identity.py`. Here it can count, stand still and answer wrongly."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "tgr_1.the-token-that-lasts"


@dataclass
class ControlApi:
    """`asked` are path and key of each request, `bodies` what it said. `answers`: path → status and body, in place of
    the usual one."""

    url: str
    asked: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[dict[str, object]] = field(default_factory=list)
    answers: dict[str, tuple[int, dict[str, object]]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    delay: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, path: str, key: str, body: dict[str, object]) -> tuple[int, dict[str, object]]:
        with self.lock:
            self.asked.append((path, key))
            self.bodies.append(body)
            first = key not in self.used
            if path == "/v1/prefect/run/token":
                self.used.add(key)
        time.sleep(self.delay)
        if path in self.answers:
            return self.answers[path]
        if path == "/v1/prefect/run/token":
            if not first:
                return problem(403, "run_secret_used", "the secret was used before")
            return 201, {"token": TOKEN, "source": "demo-prefect", "flow_run_id": "f-1"}
        number = len(self.asked)
        return 201, {"id": f"tgr_{number}", "secret": f"tgr_{number}.secret", "expires_at": "2040-01-01T00:00:00Z"}


def problem(status: int, code: str, detail: str) -> tuple[int, dict[str, object]]:
    return status, {"title": code, "status": status, "code": code, "detail": detail}


@contextmanager
def control_api() -> Iterator[ControlApi]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            key = self.headers.get("Authorization", "").removeprefix("Bearer ")
            status, answer = api.answer(self.path, key, body)
            content = json.dumps(answer).encode()
            self.send_response(status)
            kind = "application/problem+json" if status >= 400 else "application/json"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    api = ControlApi(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
