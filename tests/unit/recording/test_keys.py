from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from taskgate.errors import GatewayFault
from taskgate.recording.keys import LocalKeyWrapper, PublicKey, SigningKey, read_or_create
from taskgate.recording.session_key import SessionKey


def test_keys_are_made_at_first_use_for_the_owner_only(tmp_path: Path) -> None:
    first, second = LocalKeyWrapper(tmp_path / "k" / "rec"), LocalKeyWrapper(tmp_path / "k" / "rec")
    assert second.unwrap("s", first.wrap("s", b"x" * 32)) == b"x" * 32
    assert first.key_id == second.key_id
    assert (tmp_path / "k" / "rec").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in (tmp_path / "k").iterdir()) == ["rec"]


def test_a_wrapped_key_opens_for_its_session_and_key_only(tmp_path: Path) -> None:
    wrapper, other = LocalKeyWrapper(tmp_path / "a"), LocalKeyWrapper(tmp_path / "b")
    wrapped = wrapper.wrap("ses_1", b"x" * 32)
    for wrong, session in ((wrapper, "ses_2"), (other, "ses_1")):
        with pytest.raises(GatewayFault):
            wrong.unwrap(session, wrapped)


def test_a_file_that_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "k").write_bytes(b"short")
    with pytest.raises(GatewayFault, match="5 bytes"):
        LocalKeyWrapper(tmp_path / "k")
    with pytest.raises(GatewayFault, match="PEM"):
        SigningKey.at(tmp_path / "k")


def test_signatures(tmp_path: Path) -> None:
    key, again, other = (SigningKey.at(tmp_path / name) for name in ("a.key", "a.key", "b.key"))
    public = PublicKey.parse((tmp_path / "a.pub").read_bytes())
    signature = key.sign(b"text")
    assert public.id == again.public.id != other.public.id
    assert public.verifies(b"text", signature)
    assert not public.verifies(b"Text", signature)
    assert not public.verifies(b"text", other.sign(b"text"))
    assert not public.verifies(b"text", signature.upper())  # one form only
    assert not public.verifies(b"text", " " + signature)
    assert (tmp_path / "a.key").stat().st_mode & 0o777 == 0o600


def test_the_first_to_create_wins(tmp_path: Path) -> None:
    assert read_or_create(tmp_path / "f", b"one") == b"one"
    assert read_or_create(tmp_path / "f", b"two") == b"one"


def test_session_keys_hide_themselves_and_seal(tmp_path: Path) -> None:
    wrapper = LocalKeyWrapper(tmp_path / "k")
    key = SessionKey.new("ses_1", "gwp_1", wrapper)
    assert key.key.hex() not in repr(key)
    assert repr(key.key) not in repr(key)
    sealed = key.seal_record(7, b"plain")
    assert key.open_record(7, sealed) == b"plain"
    with pytest.raises(GatewayFault, match="record 8"):
        key.open_record(8, sealed)
    block = key.seal_block(b"block")
    assert key.open_block(block) == b"block"
    with pytest.raises(GatewayFault):
        key.open_block(block[:-1] + bytes([block[-1] ^ 1]))
    with pytest.raises(GatewayFault):
        key.open_block(b"")


def test_a_session_key_that_is_not_described_as_one(tmp_path: Path) -> None:
    wrapper = LocalKeyWrapper(tmp_path / "k")
    whole = orjson.loads(SessionKey.new("ses_1", "gwp_1", wrapper).describe())
    without = [{name: value for name, value in whole.items() if name != left_out} for left_out in whole]
    for wrong in [{}, *without, whole | {"wrapped": 1}, whole | {"wrapped": "zz"}]:
        with pytest.raises(GatewayFault, match="not described"):
            SessionKey.unwrapped(wrong, wrapper)
