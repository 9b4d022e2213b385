from __future__ import annotations

import orjson
import pytest

from taskgate.errors import GatewayFault
from taskgate.recording.checkpoints import SessionHead
from taskgate.recording.signed_heads import SignedHeads, signed_heads


def line(*heads: SessionHead) -> bytes:
    return orjson.dumps({"body": {"sessions": heads}})


def test_only_what_is_asked_for_is_kept() -> None:
    heads = [SessionHead("ses_1", 0, "aa", "open"), SessionHead("ses_2", 0, "bb", "open")]
    later = SessionHead("ses_1", 4, "cc", "closed")
    found = signed_heads(
        [line(*heads), b"{", b"[]", b'{"body":{"sessions":[{"session":"ses_1"}]}}', line(later)], ["ses_1"]
    )
    assert found == {"ses_1": SignedHeads({0: heads[0], 4: later})}
    assert found["ses_1"].records == 5


def test_nothing_signed_allows_all() -> None:
    (found,) = signed_heads([], ["ses_1"]).values()
    assert found.records == 0
    found.check(3, "aa")


def test_more_may_be_signed_and_nothing_else() -> None:
    signed = SignedHeads({2: SessionHead("ses_1", 2, "aa", "open")})
    signed.check(2, "aa")
    signed.check(3, "bb")
    assert not signed.ended(2)
    with pytest.raises(GatewayFault, match="differs"):
        signed.check(2, "bb")


def test_nothing_follows_the_end() -> None:
    signed = SignedHeads({2: SessionHead("ses_1", 2, "aa", "closed")})
    signed.check(2, "aa")
    assert signed.ended(2)
    assert signed.ended(2, "aa")
    assert not signed.ended(2, "bb")
    with pytest.raises(GatewayFault, match="after the end"):
        signed.check(3, "bb")
