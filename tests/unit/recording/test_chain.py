from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256

import pytest

from taskgate.recording.chain import Chain, ChainChecker, ChainError
from taskgate.recording.header import Header, Record, SessionHeader
from taskgate.recording.records import RecordKind

KINDS = [RecordKind.SESSION_OPENED, RecordKind.ACTION, RecordKind.RESULT, RecordKind.SESSION_CLOSED]


def forged(session: str = "ses_1", kinds: list[RecordKind] = KINDS) -> list[Record]:
    chain = Chain(SessionHeader(session, "p", "t"))
    records = []
    for number, kind in enumerate(kinds):
        plaintext = bytes([number]) * 16 + b'{"n":%d}' % number
        records.append(Record.of_plaintext(Header.parse(chain.forge(kind, 1000 + number, plaintext)), plaintext))
    return records


def complaint(records: list[Record]) -> tuple[int, str]:
    checker = ChainChecker("ses_1")
    try:
        for record in records:
            checker.check(record)
    except ChainError as error:
        return error.seq, error.message
    pytest.fail("the chain was accepted")


def test_a_chain_as_forged_checks() -> None:
    checker = ChainChecker("ses_1")
    for record in forged():
        checker.check(record)
    assert (checker.next_seq, checker.contents, checker.last_kind) == (4, 4, RecordKind.SESSION_CLOSED)


def test_anybody_can_check_it_with_json_and_sha256() -> None:
    previous = "0" * 64
    for number, record in enumerate(forged()):
        header = json.loads(record.header.raw)
        assert header["previous"] == previous
        assert header["seq"] == number
        assert header["commitment"] == sha256(record.salt + record.raw_content).hexdigest()  # type: ignore[operator]
        previous = sha256(record.header.raw).hexdigest()


def test_erased_contents_do_not_break_it() -> None:
    checker = ChainChecker("ses_1")
    for record in forged():
        checker.check(Record(record.header))
    assert checker.contents == 0


def test_a_deleted_middle() -> None:
    records = forged()
    assert complaint(records[:1] + records[2:])[0] == 1


def test_reordered() -> None:
    first, second, third, last = forged()
    assert complaint([first, third, second, last])[0] == 1


def test_repeated() -> None:
    records = forged()
    assert complaint(records[:2] + records[1:]) == (2, "records are repeated or out of order: found number 1")


def test_another_content() -> None:
    records = forged()
    records[2] = replace(records[2], raw_content=b'{"n":3}')
    assert complaint(records) == (2, "content differs from what the header commits to")


def test_a_rewritten_header_shows_at_its_successor() -> None:
    records = forged()
    raw = records[1].header.raw.replace(b'"policy":"p"', b'"policy":"q"')
    records[1] = replace(records[1], header=Header.parse(raw))
    assert complaint(records)[0] == 2


def test_another_session() -> None:
    assert complaint(forged("ses_2"))[0] == 0


def test_something_after_the_end() -> None:
    assert complaint(forged(kinds=[*KINDS, RecordKind.EVENT])) == (4, "stands after the session's end")


def test_a_second_beginning() -> None:
    kinds = [RecordKind.SESSION_OPENED, RecordKind.SESSION_OPENED]
    assert complaint(forged(kinds=kinds)) == (1, "begins a session that has begun already")


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw.replace(b'"seq":1', b'"seq": 1'),
        lambda raw: raw.replace(b'"seq":1', b'"seq":"1"'),
        lambda raw: raw.replace(b'"seq":1', b'"seq":1.0'),
        lambda raw: raw.replace(b'"kind":"action"', b'"kind":"magic"'),
        lambda raw: raw.replace(b'"time"', b'"tame"'),
        lambda raw: raw[:-1] + b',"more":1}',
        lambda raw: b"[]",
    ],
)
def test_headers_have_one_form(damage: object) -> None:
    raw = forged()[1].header.raw
    with pytest.raises(ValueError):
        Header.parse(damage(raw))  # type: ignore[operator]
