"""Stands in for the gateway's control API: the same routes and answers, from memory, in this process.

For tests of what *uses* the API (provider, dashboard) where a real gateway would add nothing but seconds, and for
answers that a real one only gives when it is broken. What crosses both is tested against the real gateway.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

Json = dict[str, Any]
Answer = Json | bytes | Iterator[bytes]


def _of_task(found: list[Json], query: dict[str, list[str]], *names: str) -> list[Json]:
    for name in names:
        if wanted := query.get(name):
            found = [one for one in found if str(one["principal"]["attempt"]["task"][name]) == wanted[0]]
    return found


class _Refused(Exception):
    def __init__(self, status: int, title: str, detail: str, code: str = "refused") -> None:
        super().__init__(detail)
        self.problem = {"title": title, "status": status, "detail": detail, "code": code, "request_id": "req_stand_in"}


def now() -> str:
    return datetime.now(UTC).isoformat()


def task_principal(task_id: str = "delete_old_orders", **attributes: Any) -> Json:
    return {
        "kind": "task",
        "name": f"orders_cleanup.{task_id}",
        "source": "demo-airflow",
        "assurance": "asserted",
        "verified_by": "service key demo-airflow",
        "attributes": {"run_type": "manual", "owner": "data-team", "tags": ["demo"], **attributes},
        "attempt": {
            "id": "0197c0de-0000-7000-8000-000000000001",
            "try_number": 1,
            "task": {
                "source": "demo-airflow",
                "dag_id": "orders_cleanup",
                "run_id": "manual__2026-11-23",
                "task_id": task_id,
                "map_index": -1,
            },
        },
    }


@dataclass
class ControlApi:
    """The state behind the routes. Tests put things in and look at `asked` afterwards."""

    keys: dict[str, Json] = field(default_factory=dict)  # secret → whoami
    approvals: dict[str, Json] = field(default_factory=dict)
    parameters: dict[str, list[Json]] = field(default_factory=dict)
    unseen: set[str] = field(default_factory=set)  # approvals whose parameters nobody may see
    sessions: dict[str, Json] = field(default_factory=dict)
    records: dict[str, list[Json]] = field(default_factory=dict)
    verifications: dict[str, Json] = field(default_factory=dict)
    endpoint: tuple[str, int] = ("127.0.0.1", 6432)
    ttl: float = 3600.0
    asked: list[tuple[str, str, Json]] = field(default_factory=list)  # method, path, body
    broken: list[int] = field(default_factory=list)  # answer the next requests with these statuses
    issued: list[Json] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)
    killed: list[tuple[str, str]] = field(default_factory=list)  # session, reason
    posted: list[str] = field(default_factory=list)  # attempts that were told to have ended
    refuses: str | None = None  # credentials are refused with these words
    hold: threading.Event | None = None  # credentials are issued once it is set
    at_once: int = 0
    most_at_once: int = 0  # requests for credentials that were open at the same time
    ended: list[tuple[str, str]] = field(default_factory=list)  # approval, state: what watchers are told, in order
    streams: int = 0  # open now
    buffered: bool = False  # streams begin, and nothing of them arrives
    era: int = 0  # streams of an earlier one end: see `cut`
    changed: threading.Condition = field(default_factory=threading.Condition)

    # --- what tests put in ---------------------------------------------------------------------------------------

    def key(self, name: str, kind: str = "user", groups: tuple[str, ...] = ("dba",), **more: Any) -> str:
        secret = f"tgk_{name}_{uuid4().hex}"
        scopes = ["approvals:read", "approvals:watch", "approvals:decide", "sessions:read", "records:read"]
        self.keys[secret] = {
            "id": f"key_{name}",
            "kind": kind,
            "name": name,
            "groups": list(groups),
            "scopes": scopes,
            **more,
        }
        return secret

    def approval(self, text: str = "DELETE FROM orders WHERE id < 10", **more: Any) -> Json:
        created = datetime.now(UTC)
        approval_id = f"apr_{uuid4()}"
        self.approvals[approval_id] = {
            "id": approval_id,
            "state": "pending",
            "principal": task_principal(),
            "target": "orders-db",
            "session_id": "ses_0197c0de-0000-7000-8000-00000000000a",
            "text": text,
            "pairs": ["sql.delete public.orders", "sql.select public.orders"],
            "rules": ["deletes-need-a-human"],
            "terms": {
                "approvers": ["group:dba"],
                "hold": 600,
                "hold_in_transaction": 60,
                "expires": 14400,
                "uses": 1,
                "max_rows": 500,
            },
            "policy_version": "5f2a90c1d7e4",
            "requested_at": created.isoformat(),
            "expires_at": (created + timedelta(hours=4)).isoformat(),
            "environment": {"role": "shop_writer", "search_path": "public"},
            "estimate": {"rows": 212, "cost": 41.5, "plan": "Seq Scan on orders"},
            "digest": "b6" * 32,
            "owner_key": "task:demo-airflow/orders_cleanup/manual__2026-11-23/delete_old_orders",
            "held": True,
            "may_decide": True,
            **more,
        }
        return self.approvals[approval_id]

    def decide(self, approval_id: str, approve: bool, by: str, comment: str | None = None) -> Json:
        with self.changed:
            approval = self.approvals[approval_id]
            if approval["state"] != "pending":
                raise _Refused(409, "Conflict", f"{approval_id} is already {approval['state']}", "already-decided")
            approval.update(
                state="approved" if approve else "denied",
                decided_by=by,
                decided_at=now(),
                comment=comment,
                uses_left=1 if approve else 0,
            )
            self.ended.append((approval_id, approval["state"]))
            self.changed.notify_all()
            return approval

    def cut(self) -> None:
        """End every stream, as a gateway that stops does."""
        with self.changed:
            self.era += 1
            self.changed.notify_all()

    # --- routes --------------------------------------------------------------------------------------------------

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Json, key: str) -> Answer:
        self.asked.append((method, path, body))
        if self.broken:
            status = self.broken.pop(0)
            raise _Refused(status, "Broken", "the test asked for it", "broken")
        if path == "/readyz":
            return {"ready": True, "checks": []}
        who = self.keys.get(key)
        if who is None:
            raise _Refused(401, "Unauthorized", "no valid API key", "unauthenticated")
        for pattern, name in _ROUTES:
            if found := re.fullmatch(pattern, f"{method} {path}"):
                handler: Callable[..., Answer] = getattr(self, f"_{name}")
                return handler(who, query, body, *found.groups())
        raise _Refused(404, "Not Found", f"no route {method} {path}", "no-route")

    def _whoami(self, who: Json, query: Json, body: Json) -> Json:
        return who

    def _issue(self, who: Json, query: Json, body: Json) -> Json:
        with self.changed:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.hold is not None:
                self.hold.wait(30)
            if self.refuses is not None:
                raise _Refused(403, "Forbidden", self.refuses, "policy_refused")
            return self._issued(body)
        finally:
            with self.changed:
                self.at_once -= 1

    def _issued(self, body: Json) -> Json:
        claim = body["principal"]
        principal = task_principal(claim["task_id"])
        principal["source"], principal["attributes"] = claim["source"], claim.get("attributes", {})
        principal["assurance"] = _ASSURANCE[claim["kind"]]
        principal["attempt"] = {
            # A real gateway verifies the token; here its subject is as good as unknown.
            "id": claim.get("attempt_id", "0197c0de-0000-7000-8000-000000000001"),
            "try_number": claim.get("try_number", 1),
            "task": {name: claim[name] for name in ("source", "dag_id", "run_id", "task_id", "map_index")},
        }
        user, password = f"tg_{uuid4().hex}", f"secret-{uuid4().hex}{uuid4().hex}"
        issued_at = datetime.now(UTC)
        credential = {
            "id": user,
            "user": user,
            "password": password,
            "target": body["target"],
            "protocol": "postgres",
            "host": self.endpoint[0],
            "port": self.endpoint[1],
            "database": "shop",
            "dsn": f"postgresql://{user}:{password}@{self.endpoint[0]}:{self.endpoint[1]}/shop",
            "principal": principal,
            "issued_at": issued_at.isoformat(),
            "expires_at": (issued_at + timedelta(seconds=min(body.get("ttl") or self.ttl, self.ttl))).isoformat(),
        }
        self.issued.append(credential)
        return credential

    def _posted(self, who: Json, query: Json, body: Json) -> Json:
        self.posted.extend(body["attempts"])
        return {"known": len(body["attempts"])}

    def _revoke(self, who: Json, query: Json, body: Json, credential_id: str) -> Json:
        self.revoked.append(credential_id)
        found = next(one for one in self.issued if one["id"] == credential_id)
        return {**found, "issued_by": who["name"], "revoked_at": now()}

    def _approvals(self, who: Json, query: dict[str, list[str]], body: Json) -> Json:
        states = query.get("state")
        found = [one for one in self.approvals.values() if not states or one["state"] in states]
        if query.get("mine") == ["true"]:
            found = [one for one in found if one["may_decide"]]
        found = _of_task(found, query, "dag_id", "run_id", "task_id")
        return {"items": found[::-1], "next_cursor": None}

    def _approval(self, who: Json, query: dict[str, list[str]], body: Json, approval_id: str) -> Json:
        if "approvals:read" not in who["scopes"]:
            raise _Refused(403, "Forbidden", "this needs the scope approvals:read", "scope_missing")
        if approval_id not in self.approvals:
            raise _Refused(404, "Not Found", f"no approval {approval_id}", "not-found")
        until = time.monotonic() + float(query.get("wait", ["0"])[0])
        with self.changed:
            while self.approvals[approval_id]["state"] == "pending" and (left := until - time.monotonic()) > 0:
                self.changed.wait(left)
        return self.approvals[approval_id]

    def _watch(self, who: Json, query: Json, body: Json) -> Iterator[bytes]:
        if "approvals:watch" not in who["scopes"]:
            raise _Refused(403, "Forbidden", "this needs the scope approvals:watch", "scope_missing")
        return self._told()

    def _told(self) -> Iterator[bytes]:
        era, seen = self.era, len(self.ended)
        self.streams += 1
        try:
            while self.buffered and era == self.era:
                time.sleep(0.05)
            yield b'event: start\ndata: {"sequence":%d,"complete":true}\n\n' % seen
            while era == self.era:
                with self.changed:
                    self.changed.wait(0.2)
                    news = self.ended[seen:]
                for approval_id, state in news:
                    seen += 1
                    yield f"data: {json.dumps({'sequence': seen, 'id': approval_id, 'state': state})}\n\n".encode()
                yield b": here\n\n"
        finally:
            self.streams -= 1

    def _states(self, who: Json, query: Json, body: Json) -> Json:
        if "approvals:watch" not in who["scopes"]:
            raise _Refused(403, "Forbidden", "this needs the scope approvals:watch", "scope_missing")
        known = [self.approvals[one] for one in body["ids"] if one in self.approvals]
        return {"items": [{"id": one["id"], "state": one["state"]} for one in known]}

    def _own(self, who: Json, query: Json, body: Json, approval_id: str) -> Json:
        if who["kind"] != "task":
            raise _Refused(403, "Forbidden", "this answers a task about itself", "not_a_task")
        return self._approval({"scopes": ["approvals:read"]}, query, body, approval_id)

    def _parameters(self, who: Json, query: Json, body: Json, approval_id: str) -> Json:
        if approval_id in self.unseen:
            raise _Refused(403, "Forbidden", "You may not see these parameters", "policy_refused")
        return {"approval_id": approval_id, "parameters": self.parameters.get(approval_id, [])}

    def _decision(self, who: Json, query: Json, body: Json, approval_id: str) -> Json:
        if who["kind"] != "user":
            raise _Refused(403, "Forbidden", "a service key never decides", "not-permitted")
        return self.decide(approval_id, body["approve"], f"user:{who['name']}", body.get("comment"))

    def _sessions(self, who: Json, query: dict[str, list[str]], body: Json) -> Json:
        found = _of_task(list(self.sessions.values()), query, "source", "dag_id", "run_id", "task_id", "map_index")
        for name in ("target", "state"):
            if wanted := query.get(name):
                found = [one for one in found if one[name] == wanted[0]]
        if "name" in query:
            found = [
                one
                for one in found
                if all(part in str(one["principal"]["attempt"]) for part in query["name"][0].split())
            ]
        if "person" in query:
            found = [
                one for one in found if query["person"][0] in one["principal"]["attributes"].get("triggering_user", "")
            ]
        found = [one for one in found if one["opened_at"] >= query.get("since", [""])[0]]
        found = [one for one in found if one["opened_at"] < query.get("until", ["9"])[0]]
        start, most = int(query.get("cursor", ["0"])[0]), int(query.get("limit", ["50"])[0])
        following = str(start + most) if len(found) > start + most else None
        return {"items": found[::-1][start : start + most], "next_cursor": following}

    def _kill(self, who: Json, query: Json, body: Json, session_id: str) -> Json:
        if "sessions:kill" not in who["scopes"]:
            raise _Refused(403, "Forbidden", "this needs the scope sessions:kill", "scope_missing")
        if self.sessions[session_id]["state"] != "open":
            raise _Refused(409, "Conflict", "this session is closed already", "session_closed")
        self.killed.append((session_id, body.get("reason", "")))
        return {}

    def _export(self, who: Json, query: dict[str, list[str]], body: Json) -> bytes:
        return b"PK a bundle of " + ",".join(query["session"]).encode()

    def _session(self, who: Json, query: Json, body: Json, session_id: str) -> Json:
        if session_id not in self.sessions:
            raise _Refused(404, "Not Found", f"no session {session_id}", "not-found")
        return self.sessions[session_id]

    def _records(self, who: Json, query: Json, body: Json, session_id: str) -> Json:
        return {"items": self.records.get(session_id, []), "next_cursor": None}

    def _verification(self, who: Json, query: Json, body: Json, session_id: str) -> Json:
        return self.verifications[session_id]


_ASSURANCE = {"task": "asserted", "airflow_task": "verified", "airflow_deferred_task": "delegated"}

_ROUTES = [
    (r"GET /v1/whoami", "whoami"),
    (r"POST /v1/credentials", "issue"),
    (r"POST /v1/credentials/exchange", "issue"),
    (r"POST /v1/credentials/delegate", "issue"),
    (r"POST /v1/credentials/([^/]+)/revoke", "revoke"),
    (r"POST /v1/attempts/posted", "posted"),
    (r"GET /v1/approvals", "approvals"),
    (r"GET /v1/approvals/watch", "watch"),
    (r"POST /v1/approvals/states", "states"),
    (r"GET /v1/attempt/approvals/([^/]+)", "own"),
    (r"GET /v1/approvals/([^/]+)", "approval"),
    (r"GET /v1/approvals/([^/]+)/parameters", "parameters"),
    (r"POST /v1/approvals/([^/]+)/decision", "decision"),
    (r"GET /v1/sessions", "sessions"),
    (r"GET /v1/sessions/([^/]+)", "session"),
    (r"GET /v1/sessions/([^/]+)/records", "records"),
    (r"POST /v1/sessions/([^/]+)/kill", "kill"),
    (r"GET /v1/export", "export"),
    (r"GET /v1/sessions/([^/]+)/verification", "verification"),
]


class ControlApiServer:
    """`ControlApi` on loopback HTTP, on a free port. A context manager."""

    def __init__(self, api: ControlApi | None = None, port: int = 0) -> None:
        self.api = api or ControlApi()
        state = self.api

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                url = urlsplit(self.path)
                length = int(self.headers.get("content-length") or 0)
                body = json.loads(self.rfile.read(length)) if length else {}
                key = (self.headers.get("authorization") or "").removeprefix("Bearer ")
                status, kind = 200, "application/json"
                try:
                    answer = state.answer(self.command, url.path, parse_qs(url.query), body, key)
                except _Refused as refused:
                    answer, status, kind = refused.problem, refused.problem["status"], "application/problem+json"
                if isinstance(answer, Iterator):
                    self._stream(answer)
                    return
                if isinstance(answer, bytes):
                    content, kind = answer, "application/zip"
                else:
                    content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def _stream(self, pieces: Iterator[bytes]) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                try:
                    for piece in pieces:
                        self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                    self.wfile.write(b"0\r\n\r\n")
                except OSError:
                    self.close_connection = True
                finally:
                    pieces.close()  # type: ignore[attr-defined]

            do_GET = do_POST = _serve  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Quiet."""

        self._http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._http.daemon_threads = True
        self.port = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> ControlApiServer:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
