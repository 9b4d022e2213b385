from __future__ import annotations

from io import BytesIO

from hypothesis import given
from hypothesis import strategies as st

from taskgate.recording.framing import FrameReader, frame

payloads = st.lists(st.binary(min_size=1, max_size=50), max_size=8)


@given(payloads)
def test_frames_come_back(written: list[bytes]) -> None:
    reader = FrameReader(BytesIO(b"".join(map(frame, written))))
    assert [one.payload for one in reader] == written
    assert (reader.torn, reader.damaged) == (0, 0)


@given(payloads, st.data())
def test_a_cut_file_gives_the_whole_frames_and_the_rest_as_torn(written: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(map(frame, written))
    cut = data.draw(st.integers(0, len(whole)))
    reader = FrameReader(BytesIO(whole[:cut]))
    got = [one.payload for one in reader]
    assert got == written[: len(got)]
    assert reader.end + reader.torn == cut
    assert len(got) == len(written) or reader.end + 8 + len(written[len(got)]) > cut


def test_zeros_after_a_power_cut_are_a_torn_tail() -> None:
    reader = FrameReader(BytesIO(frame(b"one") + bytes(4096)))
    assert [one.payload for one in reader] == [b"one"]
    assert reader.torn == 4096


def test_a_damaged_frame_in_the_middle_is_passed_over_and_counted() -> None:
    middle = bytearray(frame(b"two"))
    middle[-1] ^= 1
    reader = FrameReader(BytesIO(frame(b"one") + bytes(middle) + frame(b"three")))
    assert [one.payload for one in reader] == [b"one", b"three"]
    assert (reader.damaged, reader.torn) == (1, 0)


def test_a_damaged_last_frame_is_a_torn_tail() -> None:
    last = bytearray(frame(b"two"))
    last[-1] ^= 1
    reader = FrameReader(BytesIO(frame(b"one") + bytes(last)))
    assert [one.payload for one in reader] == [b"one"]
    assert (reader.damaged, reader.torn) == (0, len(last))


def test_a_claimed_length_allocates_nothing() -> None:
    reader = FrameReader(BytesIO(b"\xff\xff\xff\x7f" + bytes(100)))
    assert list(reader) == []
    assert reader.torn == 104
