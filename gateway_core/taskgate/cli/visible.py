"""Text that others chose, for a terminal: it can neither play with it nor hide anything from its reader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskgate.visible import is_plain, is_shown, point

if TYPE_CHECKING:
    from rich.text import Text


def _spelled(char: str) -> str:
    return f"⟦{point(char)}⟧"


def escaped(value: object, *, keep_lines: bool = False) -> str:
    """One line (or, with `keep_lines`, several) in which everything that cannot be seen is spelled out."""
    return "".join(char if is_shown(char) or (keep_lines and char == "\n") else _spelled(char) for char in str(value))


def exact(text: str) -> Text:
    """A statement for the person who decides: line feeds are line feeds, a tab is an arrow and blanks, whatever cannot
    be seen stands in reverse video, and whatever is not ASCII is underlined."""
    from rich.text import Text

    shown = Text(no_wrap=False)
    for char in text:
        if is_plain(char) or char == "\n":
            shown.append(char)
        elif char == "\t":
            shown.append("⇥   ", style="dim")
        elif is_shown(char):
            shown.append(char, style="underline yellow")
        else:
            shown.append(_spelled(char), style="reverse red")
    return shown
