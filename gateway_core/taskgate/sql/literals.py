"""Texts that differ in number literals only share a skeleton, so that one analysis serves all of them.

Deliberately narrow. A text has a skeleton only if it holds nothing that could make digits mean anything else: no
quotes, dollar signs, backslashes, comments, semicolons or characters beyond ASCII. Only runs of digits that stand alone
are replaced: before them white space, `=`, `<`, `>`, `(` or `,`, after them white space, `)`, `,` or the end. A digit
inside a name, after a dot or an operator keeps its text.

Facts may be shared between texts of one skeleton only where `literal_sensitive` is false.
"""

from __future__ import annotations

from taskgate import speed

_LONGEST = 4_096


def skeleton(text: str) -> str | None:
    """`text` with its number literals replaced by `0`; None where that would not be obviously safe."""
    if len(text) > _LONGEST or not text.isascii():
        return None
    found = speed.skeleton(text.encode())
    return None if found is None else found.decode()
