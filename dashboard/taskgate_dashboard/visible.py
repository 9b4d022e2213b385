"""Text that others chose, for a page: nothing hides, nothing reorders, nothing means anything to the browser."""

from __future__ import annotations

from html import escape

from taskgate.visible import is_plain, is_shown, name, point

_SHORT_NAMES = {"\t": "TAB", "\r": "CR", "\x00": "NUL", "\x1b": "ESC", "\x7f": "DEL", "\u00a0": "NBSP"}
_MARKDOWN = frozenset("\\`*_{}[]()<>#+-.!|~$:^=&")


def marked_html(text: str) -> str:
    """The text as HTML: escaped, with what cannot be seen spelled out (`tg-hidden`) and what is not ASCII marked
    (`tg-foreign`). A tab is named and keeps its width; a line feed stays one."""
    return "".join(_html(char) for char in text)


def _html(char: str) -> str:
    if is_plain(char) or char == "\n":
        return escape(char)
    title = escape(name(char))
    if is_shown(char):
        return f'<span class="tg-foreign" title="{title}">{escape(char)}</span>'
    behind = "\t" if char == "\t" else ""
    return f'<span class="tg-hidden" title="{title}">{_SHORT_NAMES.get(char) or point(char)}</span>{behind}'


def plain(text: object) -> str:
    """The text for places that take no HTML (tables, inputs): escapes such as `\\u202e` for what cannot be seen."""
    return "".join(char if is_shown(char) else _escape(char) for char in str(text))


def _escape(char: str) -> str:
    if char == "\n":
        return "\\n"
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def literal(text: object) -> str:
    """The text for places that take Markdown (labels, messages): no character of it means anything there."""
    return "".join(f"\\{char}" if char in _MARKDOWN else char for char in plain(text))
