"""PostgreSQL text → facts, one a statement: the way into this package.

The text is read by PostgreSQL's own grammar; names are looked up as PostgreSQL would, in the catalogue snapshot and in
what the session has made itself. What is not understood is `sql.unknown` or `complete=False`, never an exception: the
only faults raised are that the text is no SQL, or too much of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from taskgate.domain import Pair
from taskgate.sql import libpg_query, queries
from taskgate.sql.analysis import Analysis
from taskgate.sql.catalog import Catalog
from taskgate.sql.facts import StatementFacts
from taskgate.sql.faults import StatementTooComplex
from taskgate.sql.names import SearchPathMoved, SessionNames
from taskgate.sql.scope import Shape, effort
from taskgate.sql.statements import statement


def analyze(
    text: str | bytes, catalog: Catalog, search_path: Sequence[str], names: SessionNames | None = None
) -> tuple[StatementFacts, ...]:
    """The facts of every statement in `text`; none for an empty text.

    `search_path` are the schemas of the session's setting, without the implicit ones (`search_path.parse`). A statement
    sees the session names that earlier statements of the text make as possible. Raises SyntaxFault,
    StatementTooComplex, TextFault.
    """
    names = names if names is not None else SessionNames()
    with effort():
        return _each(text, catalog, tuple(search_path), names)


def _each(
    text: str | bytes, catalog: Catalog, path: tuple[str, ...], names: SessionNames
) -> tuple[StatementFacts, ...]:
    found: list[StatementFacts] = []
    moved = False
    for raw in libpg_query.parse(text):
        facts = _analyzed(raw.get("stmt", {}), catalog, path, names)
        if moved and any(pair.effect not in _NAMELESS for pair in facts.pairs):
            facts = replace(facts, complete=False, notes=(*facts.notes, _MOVED))
        if any(_moves_path(pair) for pair in facts.pairs):
            moved = True
            facts = replace(facts, name_changes=(*facts.name_changes, SearchPathMoved()))
        elif names.path_moved and any(pair.effect == "sql.transaction" for pair in facts.pairs):
            moved = True
        if facts.name_changes:
            names = names.including(facts.name_changes)
        found.append(facts)
    return tuple(found)


_NAMELESS = frozenset({"sql.session", "sql.transaction", "sql.set", "sql.listen"})
_MOVED = "search_path may have changed earlier in the same text: what its names mean is uncertain"
_PATH_SETTINGS = frozenset({"search_path", "role", "session_authorization"})


def _moves_path(pair: Pair) -> bool:
    """Whether names may mean something else after this. The path can be read again only between texts."""
    if pair.effect == "sql.set":
        return pair.object in _PATH_SETTINGS
    if pair.effect == "sql.session":
        return pair.object in ("reset all", "discard all")
    return pair.effect in ("sql.do", "sql.call", "sql.unknown")


def _analyzed(node: libpg_query.Node, catalog: Catalog, path: tuple[str, ...], names: SessionNames) -> StatementFacts:
    try:
        return statement(Analysis(catalog, path, names), node)
    except RecursionError as error:
        raise StatementTooComplex("the statement is nested too deeply to be analysed") from error
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        # A tree of a form that this package does not expect: it is not understood, and that is all we know.
        analysis = Analysis(catalog, path, names)
        analysis.unknown(f"{next(iter(node), 'statement')} of an unexpected form ({type(error).__name__})")
        return replace(analysis.facts("UNKNOWN", changes=True, returns_rows=True), outputs=None)


def analyze_view(definition: str, catalog: Catalog) -> tuple[Analysis, Shape]:
    """A view's query, as `pg_get_viewdef` prints it under an empty search_path: what it reads, and its columns."""
    analysis = Analysis(catalog, (), SessionNames())
    statements = libpg_query.parse(definition)
    if len(statements) != 1:
        raise StatementTooComplex("a view's definition is one query")
    try:
        with effort():
            return analysis, queries.query(analysis, statements[0]["stmt"], None)
    except RecursionError as error:
        raise StatementTooComplex("the view's definition is nested too deeply to be analysed") from error
