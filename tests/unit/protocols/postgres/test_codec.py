"""Framing: streams cut anywhere, lengths that lie, fields that do not fit."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgate.errors import ClientFault, TargetFault
from taskgate.protocols.postgres.codec import MessageBuffer, Reader, message, split

CAP = 10_000
MESSAGES = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=60)), max_size=12)


def taken(buffer: MessageBuffer, data: bytes) -> list[bytes]:
    data, runs = buffer.take(data)
    return [data[start:stop] for run in runs for start, stop in split(data, run)]


@given(MESSAGES, st.lists(st.integers(0, 200), max_size=20))
def test_cut_anywhere_it_is_the_same_messages(messages: list[tuple[int, bytes]], cuts: list[int]) -> None:
    whole = [message(bytes((kind,)), body) for kind, body in messages]
    stream = b"".join(whole)
    buffer = MessageBuffer(ClientFault, CAP)
    seen: list[bytes] = []
    position = 0
    for cut in [*cuts, len(stream)]:
        seen += taken(buffer, stream[position : position + cut])
        position += cut
    seen += taken(buffer, stream[position:]) if position < len(stream) else []
    assert seen == whole
    assert buffer.size == 0


def test_every_single_cut() -> None:
    whole = [message(b"Q", b"SELECT 1\0"), message(b"S"), message(b"D", b"x" * 300)]
    stream = b"".join(whole)
    for cut in range(len(stream) + 1):
        buffer = MessageBuffer(ClientFault, CAP)
        assert taken(buffer, stream[:cut]) + taken(buffer, stream[cut:]) == whole


@pytest.mark.parametrize("length", [0, 1, 2, 3, CAP + 1, 2**31 - 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("fault", [ClientFault, TargetFault])
def test_impossible_lengths_are_the_senders_fault(length: int, fault: type[ClientFault] | type[TargetFault]) -> None:
    buffer = MessageBuffer(fault, CAP)
    with pytest.raises(fault):
        buffer.take(message(b"S") + b"Q" + length.to_bytes(4, "big"))


def test_an_impossible_length_is_seen_before_its_body() -> None:
    buffer = MessageBuffer(ClientFault, CAP)
    assert buffer.take(b"Q\xff")[1] == []
    with pytest.raises(ClientFault):
        buffer.take(b"\xff\xff\xff")


def test_many_pieces_cost_linear_time() -> None:
    body = b"x" * 4_000_000
    stream = message(b"d", body)
    buffer = MessageBuffer(ClientFault, len(body) + 100)
    started = time.perf_counter()
    for start in range(0, len(stream), 100):
        data, runs = buffer.take(stream[start : start + 100])
    assert data == stream
    assert len(runs) == 1
    assert time.perf_counter() - started < 2


@given(st.binary(max_size=400))
def test_noise_is_messages_or_a_fault(noise: bytes) -> None:
    buffer = MessageBuffer(ClientFault, CAP)
    try:
        data, runs = buffer.take(noise)
    except ClientFault:
        return
    assert sum(run[2] - run[1] for run in runs) + buffer.size == len(noise)
    assert all(stop - start >= 5 for run in runs for start, stop in split(data, run))


def test_reader_reads_and_insists_on_the_end() -> None:
    reader = Reader(b"ab\0\xff\xff\0\0\0\7rest", 0, 13, ClientFault, "Test")
    assert (reader.cstring(), reader.int16(), reader.int32(), reader.take(4)) == (b"ab", -1, 7, b"rest")
    reader.finish()
    reader = Reader(b"abc", 0, 3, ClientFault, "Test")
    with pytest.raises(ClientFault, match="malformed Test"):
        reader.finish()
    for read in (
        reader.int32,
        reader.cstring,
        lambda: reader.take(4),
        lambda: reader.take(-1),
        lambda: reader.count(1),
    ):
        with pytest.raises(ClientFault):
            read()


@pytest.mark.long
def test_noise_for_minutes() -> None:
    source = random.Random(1)
    until = time.monotonic() + 120
    while time.monotonic() < until:
        test_noise_is_messages_or_a_fault.hypothesis.inner_test(source.randbytes(source.randrange(2_000)))
