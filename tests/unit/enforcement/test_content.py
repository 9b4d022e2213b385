"""What is recorded of an action that runs again: the exact text each time, and no value that a mask covers."""

from __future__ import annotations

import dataclasses

import orjson
import pytest

from taskgate.domain import (
    Action,
    Environment,
    Facts,
    MaskKind,
    MaskRule,
    Pair,
    Parameter,
    RecordingLevel,
    TransactionState,
)
from taskgate.enforcement.content import ActionContent, ActionContents, recorded_parameters
from taskgate.enforcement.contracts import Permit
from taskgate.masking.plan import MaskPlan

FACTS = (Facts((Pair("sql.select", "public.orders"),), tag="SELECT"),)
PLACE = Environment("app", "public")
EMAIL = {"email": MaskRule("email", MaskKind.REDACT)}
SEARCHED = MaskPlan(active=True, detectors=EMAIL)


def action(text: str) -> Action:
    return Action("postgres", text, FACTS, PLACE, shape="select 0")


def permit(*plans: MaskPlan, recording: RecordingLevel = RecordingLevel.STATEMENTS) -> Permit:
    return Permit(("rule",), plans, recording=recording)


def text(value: bytes | None, *, code: int = 0) -> Parameter:
    return Parameter(25, code, value)


def test_texts_of_one_shape_share_all_but_their_text() -> None:
    contents, allowed = ActionContents(), permit()
    one = contents.of(action("select 1"), allowed)
    other = contents.of(action("select 2"), allowed)
    assert one is other
    first = orjson.loads(one.encode(()))
    second = orjson.loads(other.encode((), "select 2"))
    assert second == first | {"text": "select 2"}
    assert second == orjson.loads(ActionContent(action("select 2"), allowed).encode(()))


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(action("select 2"), facts=(dataclasses.replace(FACTS[0]),)),
        dataclasses.replace(action("select 2"), environment=Environment("app", "public", settings=(("x", "1"),))),
        dataclasses.replace(action("select 2"), transaction=TransactionState.ACTIVE),
    ],
)
def test_what_differs_otherwise_has_a_content_of_its_own(other: Action) -> None:
    contents, allowed = ActionContents(), permit()
    one = contents.of(action("select 1"), allowed)
    assert contents.of(other, allowed) is not one


def test_sessions_with_other_settings_take_nothing_from_each_other() -> None:
    contents, allowed = ActionContents(), permit()
    moved = dataclasses.replace(action("select 1"), environment=Environment("app", "public", settings=(("x", "1"),)))
    one, other = contents.of(action("select 1"), allowed), contents.of(moved, allowed)
    assert contents.of(action("select 1"), allowed) is one
    assert contents.of(moved, allowed) is other


def test_at_level_metadata_no_text_and_no_parameter_is_recorded() -> None:
    content = ActionContent(action("select 1"), permit(recording=RecordingLevel.METADATA))
    recorded = content.encode((text(b"secret"),), "select 'secret'")
    assert b"secret" not in recorded
    assert orjson.loads(recorded)["text"] is None


@pytest.mark.parametrize("code", [0, 1])
@pytest.mark.parametrize(
    "value",
    [
        b"17",
        b"ann@example.org",
        "ann@example.org é".encode(),
        b"\xffann@example.org",
        "ａnn＠example.org".encode(),
        None,
    ],
)
def test_what_detectors_find_in_a_parameter_is_not_recorded(value: bytes | None, code: int) -> None:
    subject = action("select $1")
    recorded = ActionContent(subject, permit(SEARCHED)).encode((text(value, code=code),))
    expected = [dataclasses.asdict(one) for one in recorded_parameters((text(value, code=code),), (SEARCHED,))]
    assert orjson.loads(recorded)["parameters"] == expected
    assert (expected[0]["masked"] is not None) == bool(value and value != b"17")


def test_where_a_masked_column_is_involved_no_parameter_is_recorded() -> None:
    subject = action("select $1")
    plan = MaskPlan(active=True, touched=True)
    recorded = ActionContent(subject, permit(plan)).encode((text(b"17"),))
    assert orjson.loads(recorded)["parameters"][0]["text"] is None
    assert b"masked column" in recorded
