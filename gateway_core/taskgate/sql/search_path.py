"""How PostgreSQL turns `search_path` into the schemas a name is looked up in
(https://www.postgresql.org/docs/current/ddl-schemas.html#DDL-SCHEMAS-PATH, backend/catalog/namespace.c)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

TEMPORARY = "pg_temp"
SYSTEM = "pg_catalog"
SYSTEM_SCHEMAS = frozenset({SYSTEM, "information_schema"})


def parse(setting: str, user: str) -> tuple[str, ...]:
    """The value of `search_path` as the server reports it → schema names, `"$user"` replaced by `user`.

    Names are folded to lower case unless quoted. An unclosed quote gives no names at all: nothing unqualified resolves.
    """
    names: list[str] = []
    position, length = 0, len(setting)
    while position < length:
        if setting[position] in " \t\n\r\f\v,":
            position += 1
            continue
        if setting[position] == '"':
            name, position = _quoted(setting, position + 1)
            if position < 0:
                return ()
        else:
            end = setting.find(",", position)
            end = length if end < 0 else end
            name = setting[position:end].strip().lower()
            position = end
        names.append(user if name == "$user" else name)
    return tuple(name for name in names if name)


def _quoted(setting: str, start: int) -> tuple[str, int]:
    name: list[str] = []
    position = start
    while position < len(setting):
        if setting[position] != '"':
            name.append(setting[position])
            position += 1
        elif setting[position + 1 : position + 2] == '"':
            name.append('"')
            position += 2
        else:
            return "".join(name), position + 1
    return "", -1


@lru_cache(maxsize=256)
def effective(search_path: tuple[str, ...]) -> tuple[str, ...]:
    """Every schema a relation's or type's name is looked up in, in order, the implicit ones included: `pg_temp` first
    and then `pg_catalog`, each only where the path does not list it."""
    implicit = [schema for schema in (TEMPORARY, SYSTEM) if schema not in search_path]
    return (*implicit, *search_path)


def creation_schema(search_path: Sequence[str], existing: frozenset[str]) -> str | None:
    """Where an unqualified new object goes: the first schema of the path that exists."""
    return next((schema for schema in search_path if schema == TEMPORARY or schema in existing), None)
