from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from taskgate.client import Record
from taskgate_dashboard.records import steps

_AT = datetime(2026, 1, 1, tzinfo=UTC)


def _record(sequence: int, kind: str, content: dict[str, Any] | None) -> Record:
    return Record(sequence=sequence, kind=kind, at=_AT, content=content)


def test_results_belong_to_their_action() -> None:
    found = steps(
        [
            _record(1, "session_opened", {}),
            _record(2, "action", {"text": "SELECT 1", "pairs": ["sql.select"], "rules": [{"rule": "r"}]}),
            _record(3, "action", {"text": "SELECT 2"}),
            _record(4, "rows", {"action": 2, "base64": ""}),
            _record(5, "result", {"action": 3, "rows": 2}),
            _record(6, "result", {"action": 2, "rows": 1, "masked": {"ssn": 4}, "elapsed_us": 1500}),
        ]
    )
    assert [step.kind for step in found] == ["opened", "ran", "ran"]
    first = found[1]
    assert (first.text, first.pairs, first.rules) == ("SELECT 1", ["sql.select"], ["r"])
    assert (first.masked, first.seconds, first.row_records) == ({"ssn": 4}, 0.0015, 1)
    assert found[2].result == {"action": 3, "rows": 2}


def test_a_parked_record_shows_its_action() -> None:
    parked = {"action": {"text": "DELETE", "pairs": ["sql.delete x"], "rules": ["r"]}, "approval_id": "apr_1"}
    (step,) = steps([_record(1, "parked", parked)])
    assert (step.kind, step.text, step.pairs, step.rules, step.approval_id) == (
        "asked",
        "DELETE",
        ["sql.delete x"],
        ["r"],
        "apr_1",
    )


def test_erased_content_and_unknown_kinds_are_still_steps() -> None:
    found = steps(
        [_record(1, "action", None), _record(2, "result", {"action": 9}), _record(3, "novelty", {"name": "x"})]
    )
    assert [(step.kind, step.missing) for step in found] == [("ran", True), ("event", False), ("event", False)]
