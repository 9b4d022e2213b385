from __future__ import annotations

import pytest

from taskgate.cli.visible import escaped, exact


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("DELETE", "DELETE"),
        ("a\x1b[2Jb", "a⟦U+001B⟧[2Jb"),
        ("a\u202eb", "a⟦U+202E⟧b"),
        ("a\u200bb", "a⟦U+200B⟧b"),
        ("a\u00a0b", "a⟦U+00A0⟧b"),
        ("a\rb", "a⟦U+000D⟧b"),
        ("\u3164", "⟦U+3164⟧"),
        ("naïve", "naïve"),
    ],
)
def test_nothing_invisible_stays_invisible(text: str, shown: str) -> None:
    assert escaped(text) == shown
    assert exact(text).plain == shown


def test_lines_and_tabs_of_a_statement_stay() -> None:
    assert exact("a\n\tb").plain == "a\n⇥   b"
    assert escaped("a\nb") == "a⟦U+000A⟧b"
    assert escaped("a\nb", keep_lines=True) == "a\nb"
