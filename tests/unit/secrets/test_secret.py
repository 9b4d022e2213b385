from __future__ import annotations

import copy
import pickle

import pytest

from taskgate.secrets import Secret


def test_value_shows_only_where_revealed() -> None:
    secret = Secret("hunter2")
    assert secret.reveal() == "hunter2"
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret!r:>20}", "{:s}".format(secret), repr([secret])):  # noqa: UP032
        assert "hunter2" not in shown
    for take in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            take(secret)
    assert not hasattr(secret, "__dict__")


def test_equality_is_by_value_and_there_is_no_hash() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    with pytest.raises(TypeError):
        hash(Secret("a"))
