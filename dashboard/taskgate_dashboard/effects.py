"""How dangerous an effect looks: only a colour. What may happen is the policy's."""

from __future__ import annotations

_READING = ("sql.select", "sql.explain", "sql.copy_out", "sql.transaction", "sql.set", "sql.session", "sql.listen")
_DESTRUCTIVE = ("sql.delete", "sql.truncate", "sql.ddl", "sql.dcl", "sql.admin", "sql.unknown")


def colour(pair: str) -> str:
    """The colour of a pair such as `sql.delete public.orders`."""
    effect = pair.partition(" ")[0]
    if effect in _DESTRUCTIVE:
        return "red"
    return "blue" if effect in _READING else "amber"


def summary(pairs: list[str]) -> str:
    """What matters most, in words: `DELETE on public.orders (+2)`."""
    if not pairs:
        return "an action without effects"
    rank = {"red": 0, "amber": 1, "blue": 2}
    first = min(pairs, key=lambda pair: rank[colour(pair)])
    effect, _, target = first.partition(" ")
    more = f" (+{len(pairs) - 1})" if len(pairs) > 1 else ""
    return f"{effect.partition('.')[2].upper().replace('_', ' ')}{f' on {target}' if target else ''}{more}"
