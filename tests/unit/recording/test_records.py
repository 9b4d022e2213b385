from __future__ import annotations

import dataclasses

import orjson
import pytest

from taskgate.domain import Outcome, Parameter
from taskgate.errors import JournalFault
from taskgate.recording.records import (
    ActionTemplate,
    Content,
    Decided,
    Event,
    Granted,
    Parked,
    RecordedParameter,
    Result,
    Rows,
    SessionClosed,
    encode,
    encode_result,
)
from tests.unit.recording.samples import OPENED, action


def test_who_acts_stands_in_session_opened() -> None:
    said = orjson.loads(encode(OPENED))
    assert said["principal_kind"] == "task"
    assert said["assurance"] == "verified"
    assert said["attributes"] == {"bundle": "etl", "tags": ["nightly", "pii"]}
    assert said["task"] == "airflow/etl/run-1/load"
    assert (said["attempt_id"], said["try_number"]) == ("0199-ti", 2)


@pytest.mark.parametrize(
    "content",
    [
        OPENED,
        action(),
        Parked(action(), "apr_1", ("group:dba",), 600.0),
        Decided("apr_1", "approved", "user:alice"),
        Granted("apr_1", "user:alice", 0),
        Result(1, masked={"masks[0]": 3}),
        Rows.of(1, b"\x00\xff"),
        Event("setting", {"name": "search_path"}),
        SessionClosed("done"),
    ],
    ids=lambda content: type(content).__name__,
)
def test_every_content_becomes_an_object_of_its_field_names(content: Content) -> None:
    said = orjson.loads(encode(content))
    assert set(said) == set(type(content).__dataclass_fields__)
    assert orjson.dumps(said) == encode(content)


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        (Parameter(25, 0, b"o'neil"), {"text": "o'neil", "hex": None}),
        (Parameter(23, 1, b"\x00\x00\x00\x07"), {"text": None, "hex": "00000007"}),
        (Parameter(25, 0, b"\xff\xfe"), {"text": None, "hex": "fffe"}),
        (Parameter(25, 0, None), {"text": None, "hex": None}),
    ],
)
def test_parameters_are_kept_exactly(parameter: Parameter, expected: dict[str, str | None]) -> None:
    recorded = RecordedParameter.of(parameter)
    assert {"text": recorded.text, "hex": recorded.hex} == expected
    assert (recorded.type_oid, recorded.format) == (parameter.type_oid, parameter.format)


def test_what_is_not_json_is_refused_without_being_quoted() -> None:
    with pytest.raises(JournalFault) as caught:
        encode(Event("odd", {"secret": b"hunter2"}))
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_template_says_the_same_as_the_whole_encoding() -> None:
    parameters = (Parameter(25, 0, b"a"), Parameter(23, 1, b"\0\0\0\1"))
    whole = orjson.loads(encode(action("select $1", *parameters)))
    template = ActionTemplate(action("select $1"))
    assert orjson.loads(template.content(parameters)) == whole
    assert template.content([RecordedParameter.of(one) for one in parameters]) == template.content(parameters)
    assert orjson.loads(template.content()) == orjson.loads(encode(action("select $1")))


def test_a_template_takes_another_text() -> None:
    template = ActionTemplate(action("select 1"))
    assert orjson.loads(template.content(text="select 2")) == orjson.loads(encode(action("select 2")))
    assert orjson.loads(template.content(text="select 1")) == orjson.loads(encode(action("select 1")))
    with pytest.raises(JournalFault):
        template.content(text="\ud800")


def test_without_text_a_template_records_neither_text_nor_parameters() -> None:
    bare = dataclasses.replace(action("x"), text=None, parameters=None)
    whole = orjson.loads(encode(bare))
    template = ActionTemplate(bare)
    assert orjson.loads(template.content((Parameter(25, 0, b"a"),), text="select 'secret'")) == whole


@pytest.mark.parametrize("value", [b"a", b'"\\', "é\U0001f600".encode(), b"\xff", b"\0", b"", None])
@pytest.mark.parametrize("code", [0, 1])
def test_a_parameter_reads_the_same_however_it_is_encoded(value: bytes | None, code: int) -> None:
    parameter = Parameter(25, code, value)
    (found,) = orjson.loads(ActionTemplate(action("x")).content((parameter,)))["parameters"]
    assert found == orjson.loads(orjson.dumps(RecordedParameter.of(parameter)))


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(),
        Outcome("SELECT 1", 1, 64),
        Outcome('odd "tag"', 1, 64, {'a"b': 2, "c": 1}, 'it "failed" \\ é'),
    ],
)
def test_a_result_written_by_hand_is_the_encoding(outcome: Outcome) -> None:
    tag, rows, size, masked, error = outcome
    assert encode_result(3, outcome, 12) == encode(Result(3, tag, rows, size, dict(masked), error, 12))
