"""Nobody asks for everybody."""

from __future__ import annotations

import pytest

from taskgate.api.inquiries import Inquiries
from taskgate.api.problems import ApiProblem


def test_so_many_of_one_and_others_go_on() -> None:
    inquiries = Inquiries(of_one=2, in_all=10)
    with inquiries.going("a"), inquiries.going("a"):
        with pytest.raises(ApiProblem) as caught, inquiries.going("a"):
            pass
        assert (caught.value.status, caught.value.code, caught.value.headers["Retry-After"]) == (503, "busy", "1")
        with inquiries.going("b"):
            pass
    with inquiries.going("a"):
        pass


def test_so_many_in_all() -> None:
    inquiries = Inquiries(of_one=2, in_all=3)
    with inquiries.going("a"), inquiries.going("b"), inquiries.going("c"):
        with pytest.raises(ApiProblem), inquiries.going("d"):
            pass
    with inquiries.going("d"):
        pass


def test_who_fails_has_gone() -> None:
    inquiries = Inquiries(of_one=1, in_all=1)
    for _ in range(3):
        with pytest.raises(ValueError, match="what it asked failed"), inquiries.going("a"):
            raise ValueError("what it asked failed")
    assert not inquiries._going


def test_a_flow_run_has_fewer() -> None:
    inquiries = Inquiries(of_one=3, in_all=10, of_run=1)
    with inquiries.going("run", is_run=True), inquiries.going("key"), inquiries.going("key"):
        with pytest.raises(ApiProblem), inquiries.going("run", is_run=True):
            pass
