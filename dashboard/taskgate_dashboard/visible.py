"""Text as an approver must see it: nothing invisible, nothing that reorders, nothing that a browser would interpret.

Statements, names and comments are chosen by others. A right-to-left override can make `DELETE` read as something else
(CVE-2021-42574), an escape sequence or a zero-width space can hide a part. So every character that is not plainly
visible is shown as its name, and every letter outside ASCII is marked: it may look like another.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from html import escape

_SHORT_NAMES = {"\t": "TAB", "\r": "CR", "\x00": "NUL", "\x1b": "ESC", "\x7f": "DEL", "\u00a0": "NBSP"}
# Letters (other than modifiers), digits, punctuation and symbols show themselves; everything else might not.
_SHOWN = frozenset({"Lu", "Ll", "Lt", "Lo", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So"})  # fmt: skip # noqa: E501
# Letters by category, blank on the screen: Hangul fillers, the braille blank.
_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800")
_MARKDOWN = frozenset("\\`*_{}[]()<>#+-.!|~$:^=&")


def is_plain(char: str) -> bool:
    """Printable ASCII or a line feed: shown as it is."""
    return char == "\n" or " " <= char <= "~"


def is_shown(char: str) -> bool:
    """Something a reader can see, be it not ASCII."""
    return is_plain(char) or (unicodedata.category(char) in _SHOWN and char not in _BLANK)


def name(char: str) -> str:
    """`U+202E RIGHT-TO-LEFT OVERRIDE`."""
    point = f"U+{ord(char):04X}"
    known = unicodedata.name(char, "") or {"Cc": "CONTROL", "Cs": "SURROGATE", "Co": "PRIVATE USE"}.get(
        unicodedata.category(char), ""
    )
    return f"{point} {known}".rstrip()


def marked_html(text: str) -> str:
    """The text as HTML: escaped, with what cannot be seen spelled out (`tg-hidden`) and what is not ASCII marked
    (`tg-foreign`). A tab is named and keeps its width; a line feed stays one."""
    return "".join(_html(char) for char in text)


def _html(char: str) -> str:
    if is_plain(char):
        return escape(char)
    title = escape(name(char))
    if is_shown(char):
        return f'<span class="tg-foreign" title="{title}">{escape(char)}</span>'
    spelled = _SHORT_NAMES.get(char) or f"U+{ord(char):04X}"
    behind = "\t" if char == "\t" else ""
    return f'<span class="tg-hidden" title="{title}">{spelled}</span>{behind}'


def plain(text: object) -> str:
    """The text for places that take no HTML (tables, inputs): escapes such as `\\u202e` for what cannot be seen."""
    return "".join(char if is_shown(char) and char != "\n" else _escape(char) for char in str(text))


def _escape(char: str) -> str:
    if char == "\n":
        return "\\n"
    point = ord(char)
    if point < 0x100:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def literal(text: object) -> str:
    """The text for places that take Markdown (labels, messages): no character of it means anything there."""
    return "".join(f"\\{char}" if char in _MARKDOWN else char for char in plain(text))


def warnings(text: str) -> Iterator[str]:
    """What a reader should be told before trusting their eyes."""
    hidden = sorted({char for char in text if not is_shown(char) and char != "\t"})
    foreign = sorted({char for char in text if not is_plain(char) and is_shown(char)})
    if hidden:
        names = ", ".join(name(char) for char in hidden[:6])
        yield f"Holds characters that cannot be seen, spelled out below: {names}{' …' if len(hidden) > 6 else ''}"
    if foreign:
        letters = " ".join(foreign[:20])
        yield f"Holds characters outside ASCII, marked below (they may look like others): {letters}"
