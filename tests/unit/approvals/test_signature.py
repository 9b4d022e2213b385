from __future__ import annotations

import hashlib
import hmac

import pytest

from taskgate.approvals.notifiers.signature import sign, verify

BODY = b'{"event":"approval.requested"}'


def test_form_and_vector() -> None:
    expected = hmac.new(b"secret", b"1700000000." + BODY, hashlib.sha256).hexdigest()
    assert sign("secret", BODY, 1700000000) == f"t=1700000000,v1={expected}"


def test_fresh_and_unchanged_is_ours() -> None:
    header = sign("secret", BODY, 1000)
    assert verify("secret", BODY, header, now=1000)
    assert verify("secret", BODY, header, now=1300)
    assert not verify("secret", BODY, header, now=1301)
    assert not verify("secret", BODY, header, now=699)
    assert not verify("other", BODY, header, now=1000)
    assert not verify("secret", BODY + b" ", header, now=1000)
    assert not verify("secret", BODY, header.replace("t=1000", "t=1001"), now=1000)


@pytest.mark.parametrize("header", ["", "t=,v1=", "t=1", "v1=00", "t=1000,v1=zz", "t=-1,v1=" + "0" * 64])
def test_other_forms_are_refused(header: str) -> None:
    assert not verify("secret", BODY, header, now=1000)


def test_body_and_time_cannot_trade_places() -> None:
    """`t.body` is read back as it was signed: the first dot ends the time, which has digits only."""
    mac = sign("secret", b"2.x", 1).partition("v1=")[2]
    assert not verify("secret", b"x", f"t=12,v1={mac}", now=12)
