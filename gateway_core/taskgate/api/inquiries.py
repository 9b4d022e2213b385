"""Requests for which the gateway asks an orchestrator, and may have to wait for what that has yet to record.

They are bounded, so that a flow run that sends many takes neither connections nor answers from everybody else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import Depends, Request

from taskgate.api.problems import ApiProblem


class Inquiries:
    """At most `of_one` key's, `of_run` (a flow run's own) and `in_all` go on at one time: of the 1,024 connections of
    the control API some are left for people, and it takes more than a few runs of one author to have all of them."""

    def __init__(self, of_one: int = 256, in_all: int = 640, of_run: int = 32) -> None:
        self._of_one = of_one
        self._of_run = of_run
        self._in_all = in_all
        self._going: Counter[str] = Counter()

    @contextmanager
    def going(self, caller_id: str, *, is_run: bool = False) -> Iterator[None]:
        """Raises ApiProblem where there are too many already; who is told so asks again in a second."""
        most = self._of_run if is_run else self._of_one
        if self._going[caller_id] >= most or self._going.total() >= self._in_all:
            raise ApiProblem(503, "too many tasks ask at once", code="busy", headers={"Retry-After": "1"})
        self._going[caller_id] += 1
        try:
            yield
        finally:
            self._going[caller_id] -= 1
            if not self._going[caller_id]:
                del self._going[caller_id]


def _inquiries(request: Request) -> Inquiries:
    inquiries: Inquiries = request.app.state.inquiries
    return inquiries


Asking = Annotated[Inquiries, Depends(_inquiries)]
