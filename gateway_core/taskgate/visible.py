"""What a reader can see of a text that others chose, for everything that shows one: terminals, pages, messages.

A right-to-left override can make `DELETE` read as something else (CVE-2021-42574), an escape sequence or a zero-width
space can hide a part. So every character that is not plainly visible is spelled out, and what is visible but not ASCII
is marked where a decision hangs on it: it may look like something else. How it is spelled out and marked is the
medium's business. Imports nothing but the standard library.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

# Letters (other than modifiers), digits, punctuation and symbols show themselves; everything else might not.
_SHOWN = frozenset("Lu Ll Lt Lo Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So".split())
# Letters by category, blank on the screen: Hangul fillers, the braille blank.
_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800")
_LAYOUT = frozenset("\n\t")  # of a statement: nothing to be warned of
_UNNAMED = {"Cc": "CONTROL", "Cs": "SURROGATE", "Co": "PRIVATE USE"}
_MOST_NAMED, _MOST_LISTED = 6, 20


def is_plain(char: str) -> bool:
    """Printable ASCII: can be nothing else."""
    return " " <= char <= "~"


def is_shown(char: str) -> bool:
    """Something a reader can see, be it not ASCII. A line feed is not."""
    return is_plain(char) or (unicodedata.category(char) in _SHOWN and char not in _BLANK)


def point(char: str) -> str:
    """`U+202E`."""
    return f"U+{ord(char):04X}"


def name(char: str) -> str:
    """`U+202E RIGHT-TO-LEFT OVERRIDE`."""
    known = unicodedata.name(char, "") or _UNNAMED.get(unicodedata.category(char), "")
    return f"{point(char)} {known}".rstrip()


def warnings(text: str) -> Iterator[str]:
    """What a reader should be told before trusting their eyes."""
    hidden = sorted({char for char in text if not is_shown(char)} - _LAYOUT)
    foreign = sorted({char for char in text if is_shown(char) and not is_plain(char)})
    if hidden:
        names = ", ".join(name(char) for char in hidden[:_MOST_NAMED])
        more = " …" if len(hidden) > _MOST_NAMED else ""
        yield f"Holds characters that cannot be seen, spelled out below: {names}{more}"
    if foreign:
        letters = " ".join(foreign[:_MOST_LISTED])
        yield f"Holds characters outside ASCII, marked below (they may look like others): {letters}"
