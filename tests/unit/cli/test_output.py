"""What is printed can be copied and piped as it is."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stdout

import pytest

from taskgate.cli import output

LONG = "postgresql://tg_1:" + "x" * 200 + "@gateway.example:6432/orders"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setenv("TERM", "dumb")  # no styles, 80 columns


def on_a_terminal(work: Callable[[], None]) -> str:
    with redirect_stdout(Terminal()) as terminal:
        work()
    return terminal.getvalue()


def test_a_field_is_never_broken() -> None:
    fields = [("user", "tg_1"), ("dsn", LONG), ("none", None), ("words", "so many " * 20 + "words")]
    assert (
        on_a_terminal(lambda: output.print_fields(fields))
        == f"user   tg_1\ndsn    {LONG}\nwords  {'so many ' * 20}words\n"
    )


def test_in_a_pipe_fields_are_lines_with_a_tab(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_fields([("user", "tg_1"), ("dsn", LONG), ("odd", "a\tb\nc")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["user\ttg_1", f"dsn\t{LONG}"]
    assert len(lines) == 3


def test_a_tables_first_cell_is_never_broken() -> None:
    name = "apr_01999999-0000-7000-8000-000000000000"
    rows = [(name, "many words " * 9, "somebody else " * 9)]
    lines = on_a_terminal(lambda: output.print_table(("id", "what", "who"), rows, empty="")).splitlines()
    assert lines[1].startswith(name)
    assert all(len(line) <= 80 for line in lines)


def test_what_is_said_is_not_broken() -> None:
    assert on_a_terminal(lambda: output.console().print("word " * 40, end="")) == "word " * 40
