from __future__ import annotations

import base64
import json
import threading
from contextvars import copy_context

import pytest

from taskgate_airflow.task_token import TaskToken, current_token, presented

ATTEMPT = "0197c0de-0000-7000-8000-000000000001"


def jwt(claims: object) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'EdDSA'})}.{part(claims)}.c2lnbmF0dXJl"


def test_it_reads_whose_it_claims_to_be() -> None:
    text = jwt({"sub": ATTEMPT.upper(), "scope": "execution"})
    assert TaskToken.read(f"Bearer {text}".encode()) == TaskToken(text, ATTEMPT)
    assert TaskToken.read(f"bearer   {text} ".encode()) == TaskToken(text, ATTEMPT)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"Bearer",
        b"Bearer x",
        b"Bearer a.b.c",
        b"Bearer a.!!!!.c",
        b"Bearer \xff\xfe.\xff.c",
        f"Basic {jwt({'sub': ATTEMPT})}".encode(),
        f"Bearer {jwt({'sub': 'admin'})}".encode(),
        f"Bearer {jwt({'sub': 7})}".encode(),
        f"Bearer {jwt({'sub': None})}".encode(),
        f"Bearer {jwt({})}".encode(),
        f"Bearer {jwt([1])}".encode(),
        f"Bearer {jwt('text')}".encode(),
        f"Bearer a.{base64.urlsafe_b64encode(b'[' * 9000).decode()}.c".encode(),
        f"Bearer a.{base64.urlsafe_b64encode(b'[' * 20000).decode()}.c".encode(),
        f"Bearer {jwt({'sub': ATTEMPT, 'more': 'x' * 20000})}".encode(),
    ],
)
def test_anything_else_is_no_token(header: bytes) -> None:
    assert TaskToken.read(header) is None


def test_it_is_current_while_presented_and_in_the_threads_that_answer() -> None:
    token = TaskToken(jwt({"sub": ATTEMPT}), ATTEMPT)
    seen: list[TaskToken | None] = []
    assert current_token() is None
    with presented(token):
        thread = threading.Thread(target=copy_context().run, args=(lambda: seen.append(current_token()),))
        thread.start()
        thread.join(5)
        assert current_token() is token
    assert current_token() is None
    assert seen == [token]


def test_no_repr_holds_it() -> None:
    text = jwt({"sub": ATTEMPT})
    assert text not in repr(TaskToken(text, ATTEMPT))
