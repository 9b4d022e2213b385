"""A stand-in control API with something in it: a run with reads, a refusal, and deletes that wait for a human."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.e2e.control_api_stand_in import ControlApi, task_principal

Json = dict[str, Any]

# A right-to-left override, a zero-width space, an escape sequence, and a Cyrillic о in `оwner`.
HOSTILE = "DELETE FROM public.orders\nWHERE note = 'ok\u202e' -- harm\u200bless\x1b[2J\n  AND \u043ewner = $1"
GOVERNED = "DELETE FROM public.orders WHERE created_at < $1 AND status = $2"


def _record(sequence: int, kind: str, at: datetime, content: Json | None) -> Json:
    return {"sequence": sequence, "kind": kind, "at": at.isoformat(), "content": content, "hash": f"{sequence:064x}"}


def _action(text: str, *pairs: str, rule: str, verdict: str = "allow", **more: Any) -> Json:
    return {
        "protocol": "postgres",
        "text": text,
        "pairs": list(pairs),
        "verdict": verdict,
        "rules": [{"rule": rule, "verdict": verdict, "reason": None}],
        "parameters": [],
        **more,
    }


def sample() -> ControlApi:
    api = ControlApi()
    started = datetime.now(UTC) - timedelta(minutes=9)
    _session(api, "ses_read", "read_customers", started, actions=2, rows=220, masked=660, records=_reads(started))
    _session(api, "ses_drop", "drop_orders", started + timedelta(seconds=20), refused=1, records=_drop(started))
    _session(api, "ses_del", "delete_old_orders_stock", started + timedelta(seconds=40), actions=1, state="open")
    api.verifications["ses_read"] = _verified("ses_read", records=6, checkpoint=17, sealed=True)
    api.verifications["ses_del"] = _verified("ses_del", records=2, checkpoint=None, sealed=False)
    api.verifications["ses_drop"] = _verified("ses_drop", records=3, checkpoint=17, sealed=True) | {
        "ok": False,
        "problems": [{"session_id": "ses_drop", "sequence": 2, "message": "record 2 was changed"}],
    }
    held = api.approval(
        GOVERNED,
        principal=task_principal("delete_old_orders_stock", triggering_user="alice"),
        session_id="ses_del",
        waits_until=(datetime.now(UTC) + timedelta(minutes=7, seconds=50)).isoformat(),
        requested_at=(datetime.now(UTC) - timedelta(minutes=2, seconds=10)).isoformat(),
    )
    api.parameters[held["id"]] = [
        {"index": 1, "type_oid": 1184, "type_name": "timestamptz", "encoding": "text", "value": "2025-01-01"},
        {"index": 2, "type_oid": 25, "type_name": "text", "encoding": "text", "value": "cancelled"},
    ]
    hostile = api.approval(HOSTILE, principal=task_principal("delete_old_orders_governed"), held=False)
    api.parameters[hostile["id"]] = [{"index": 1, "type_oid": 17, "encoding": "hex", "value": "00ff10"}]
    api.approval("UPDATE public.orders SET status = 'x'", may_decide=False, may_not_because="you started this run")
    old = api.approval("DELETE FROM public.orders WHERE id = 1", state="denied", decided_by="user:dana", held=False)
    old.update(decided_at=datetime.now(UTC).isoformat(), comment="Not before the audit.")
    return api


def _session(api: ControlApi, session_id: str, task_id: str, opened: datetime, **more: Any) -> None:
    api.records[session_id] = more.pop("records", [])
    state = more.pop("state", "closed")
    api.sessions[session_id] = {
        "id": session_id,
        "principal": task_principal(task_id, triggering_user="alice"),
        "target": "orders-db",
        "protocol": "postgres",
        "client_address": "127.0.0.1:50112",
        "state": state,
        "opened_at": opened.isoformat(),
        "closed_at": None if state == "open" else (opened + timedelta(seconds=1.4)).isoformat(),
        "closed_reason": None if state == "open" else "client closed",
        **more,
    }


def _verified(session_id: str, **more: Any) -> Json:
    return {"session_id": session_id, "ok": True, "head": "9c1b" * 16, "problems": [], **more}


def _reads(at: datetime) -> list[Json]:
    select = "SELECT id, name, email, card, ssn FROM public.customers ORDER BY id"
    masked = {"masks[0]": 220, "credit_card": 220, "us_ssn": 220}
    return [
        _record(1, "session_opened", at, {"principal_name": "orders_cleanup.read_customers", "target": "orders-db"}),
        _record(2, "action", at + timedelta(milliseconds=20), _action("BEGIN", "sql.transaction", rule="builtin:tx")),
        _record(3, "result", at + timedelta(milliseconds=21), {"action": 2, "tag": "BEGIN", "elapsed_us": 310}),
        _record(
            4,
            "action",
            at + timedelta(milliseconds=40),
            _action(select, "sql.select public.customers", rule="etl-reads"),
        ),
        _record(
            5,
            "result",
            at + timedelta(milliseconds=95),
            {"action": 4, "tag": "SELECT 220", "rows": 220, "masked": masked, "elapsed_us": 54_000},
        ),
        _record(6, "session_closed", at + timedelta(seconds=1.4), {"reason": "client closed"}),
    ]


def _drop(at: datetime) -> list[Json]:
    refused = _action(
        "DROP TABLE public.orders",
        "sql.ddl public.orders",
        rule="no-production-ddl",
        verdict="deny",
        reason="refused by rule no-production-ddl: Schema changes go through migrations.",
    )
    return [
        _record(1, "session_opened", at, {"principal_name": "orders_cleanup.drop_orders", "target": "orders-db"}),
        _record(2, "refused", at + timedelta(milliseconds=12), refused),
        _record(3, "session_closed", at + timedelta(milliseconds=30), {"reason": "client closed"}),
    ]
