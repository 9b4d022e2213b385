"""Text that others chose, shown so that it can neither play with the terminal nor hide anything from its reader.

Escape sequences, right-to-left overrides (CVE-2021-42574) and zero-width characters are spelled out; what is not ASCII
but visible is marked where a decision hangs on it, since it may look like something else.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

_SHOWN = frozenset("Lu Ll Lt Lo Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So".split())
# Letters by category, blank on the screen: Hangul fillers, the braille blank.
_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800")


def _plain(char: str) -> bool:
    return " " <= char <= "~"


def _shown(char: str) -> bool:
    return _plain(char) or (unicodedata.category(char) in _SHOWN and char not in _BLANK)


def _spelled(char: str) -> str:
    return f"⟦U+{ord(char):04X}⟧"


def escaped(value: object, *, keep_lines: bool = False) -> str:
    """One line (or, with `keep_lines`, several) in which everything that cannot be seen is spelled out."""
    return "".join(char if _shown(char) or (keep_lines and char == "\n") else _spelled(char) for char in str(value))


def exact(text: str) -> Text:
    """A statement for the person who decides: line feeds are line feeds, a tab is an arrow and blanks, whatever cannot
    be seen stands in reverse video, and whatever is not ASCII is underlined."""
    from rich.text import Text

    shown = Text(no_wrap=False)
    for char in text:
        if _plain(char) or char == "\n":
            shown.append(char)
        elif char == "\t":
            shown.append("⇥   ", style="dim")
        elif _shown(char):
            shown.append(char, style="underline yellow")
        else:
            shown.append(_spelled(char), style="reverse red")
    return shown


def warnings(text: str) -> list[str]:
    """What a reader should know before trusting their eyes."""
    hidden = sorted({char for char in text if not _shown(char) and char not in "\n\t"})
    foreign = sorted({char for char in text if _shown(char) and not _plain(char)})
    found = []
    if hidden:
        names = ", ".join(
            f"{_spelled(char)} {unicodedata.name(char, 'control character').lower()}" for char in hidden[:6]
        )
        found.append(f"holds characters that cannot be seen: {names}{' …' if len(hidden) > 6 else ''}")
    if foreign:
        found.append(f"holds characters outside ASCII, which may look like others: {' '.join(foreign[:20])}")
    return found
