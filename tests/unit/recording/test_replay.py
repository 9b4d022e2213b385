from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from taskgate.recording.replay import GivenMoment, timeline

START = datetime(2026, 11, 23, tzinfo=UTC)
ACTION = {"text": "select 1", "pairs": ["sql.select public.t"], "verdict": "allow", "rules": [{"rule": "r1"}]}


def moment(seq: int, kind: str, content: Mapping[str, Any] | None) -> GivenMoment:
    return GivenMoment(seq, kind, START + timedelta(seconds=seq), content)


def test_an_action_and_its_result_are_one_event() -> None:
    events = list(
        timeline(
            [
                moment(0, "session_opened", {"principal_name": "x"}),
                moment(1, "action", ACTION),
                moment(2, "rows", {"action": 1, "base64": ""}),
                moment(
                    3, "result", {"action": 1, "tag": "SELECT 2", "rows": 2, "masked": {"m": 4}, "elapsed_us": 1500}
                ),
                moment(4, "session_closed", {"reason": "done"}),
            ]
        )
    )
    assert [(event.seq, event.offset) for event in events] == [(0, 0.0), (1, 1.0), (4, 4.0)]
    action = events[1]
    assert (action.text, action.pairs, action.verdict, action.rules) == (
        "select 1",
        ("sql.select public.t",),
        "allow",
        ("r1",),
    )
    assert action.ending is not None
    assert (action.ending.tag, action.ending.rows, action.ending.masked) == ("SELECT 2", 2, {"m": 4})
    assert action.ending.duration == 0.0015
    assert action.recorded_rows == 1


def test_pipelined_actions_keep_their_order() -> None:
    given = [moment(n, "action", ACTION) for n in range(3)]
    given += [moment(3 + n, "result", {"action": action, "tag": str(action)}) for n, action in enumerate((2, 0, 1))]
    events = list(timeline(given))
    assert [event.seq for event in events] == [0, 1, 2]
    assert [event.ending.tag for event in events if event.ending] == ["0", "1", "2"]
    assert [event.ending.duration for event in events if event.ending] == [4.0, 4.0, 1.0]


def test_an_action_without_result_is_there_without_ending() -> None:
    (event,) = timeline([moment(0, "action", ACTION)])
    assert event.ending is None


def test_a_flood_without_results_does_not_pile_up() -> None:
    events = timeline(moment(n, "action", ACTION) for n in range(10_000))
    assert next(iter(events)).seq == 0
    assert sum(1 for _ in events) == 9_999


def test_parameters_as_people_read_them() -> None:
    listed = [
        {"text": "o'neil", "hex": None, "masked": None},
        {"text": None, "hex": "00ff", "masked": None},
        {"type_oid": 23, "format": 1, "text": None, "hex": "00000007", "masked": None},
        {"text": None, "hex": None, "masked": None},
        {"text": None, "hex": None, "masked": "masks[0]"},
    ]
    (event,) = timeline([moment(0, "action", ACTION | {"parameters": listed})])
    assert event.parameters == ("'o''neil'", "\\x00ff (bytes, hex)", "7", "NULL", "[masked by masks[0]]")


def test_a_parked_action_shows_its_text() -> None:
    content = {"action": ACTION, "approval_id": "apr_1", "approvers": ["group:dba"], "hold": 60.0, "url": ""}
    (event,) = timeline([moment(0, "parked", content)])
    assert (event.text, event.approval_id) == ("select 1", "apr_1")


def test_an_erased_session_shows_when_and_what_kind() -> None:
    events = list(timeline([moment(0, "session_opened", None), moment(1, "action", None), moment(2, "result", None)]))
    assert [(event.kind, event.text, event.parameters) for event in events] == [
        ("session_opened", None, None),
        ("action", None, None),
        ("result", None, None),
    ]
