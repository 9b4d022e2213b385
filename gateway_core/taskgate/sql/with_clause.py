"""WITH: each query analysed once, when it is first referred to or at the end, in its own scope.

All of them are analysed, referred to or not: PostgreSQL runs a data-modifying one in any case.
"""

from __future__ import annotations

from typing import Any

from taskgate.sql import queries
from taskgate.sql.analysis import Analysis, string, strings
from taskgate.sql.scope import Scope, Shape, computed

Node = dict[str, Any]

_ROUNDS = 12  # a recursive query's lineage grows by at least one source a round; beyond, everything taints everything


class CommonTable:
    """One query of a WITH."""

    def __init__(self, a: Analysis, fields: Node, scope: Scope, recursive: bool) -> None:
        self._a = a
        self._fields = fields
        self._scope = scope  # what its body sees
        self._recursive = recursive
        self._shape: Shape | None = None
        self._working = False
        self._asked_itself = False

    def shape(self) -> Shape:
        """Its columns; inside its own recursive body, what is known of them so far."""
        if self._working:
            self._asked_itself = True
            return self._shape or Shape()
        if self._shape is None:
            self._working = True
            try:
                self._settle()
            finally:
                self._working = False
        return self._shape or Shape()

    def _settle(self) -> None:
        if self._recursive:
            self._shape = self._first_arm()
        for _ in range(_ROUNDS):
            before = self._shape
            self._shape = self._analysed()
            if not self._asked_itself or self._shape == before:
                return
        a = self._a
        everything = frozenset(a.read)
        a.used(everything)
        columns = tuple((name, computed(everything)) for name, _ in (self._shape or Shape()).columns)
        self._shape = Shape.of(columns, open=True, taint=everything)

    def _first_arm(self) -> Shape | None:
        """The non-recursive term gives a recursive query its columns."""
        body = self._fields["ctequery"].get("SelectStmt", {})
        if body.get("op", "SETOP_NONE") == "SETOP_NONE":
            return None
        return self._named(queries.query(self._a, {"SelectStmt": body["larg"]}, self._scope))

    def _analysed(self) -> Shape:
        return self._named(queries.query(self._a, self._fields["ctequery"], self._scope))

    def _named(self, shape: Shape) -> Shape:
        shape = shape.renamed(strings(self._fields.get("aliascolnames", ())))
        added = []
        for clause, names, listed in (
            ("search_clause", ("search_seq_column",), "search_col_list"),
            ("cycle_clause", ("cycle_mark_column", "cycle_path_column"), "cycle_col_list"),
        ):
            fields = self._fields.get(clause)
            if fields:
                sources = frozenset().union(
                    *(shape.by_name[name].sources for name in strings(fields.get(listed, ())) if name in shape.by_name)
                )
                self._a.used(sources)
                added += [(fields[name], computed(sources)) for name in names if name in fields]
        if not added:
            return shape
        return Shape.of((*shape.columns, *added), open=shape.open, taint=shape.taint)


def enter(a: Analysis, clause: Node | None, scope: Scope) -> list[CommonTable]:
    """Make the WITH queries of `clause` known in `scope`. The caller hands the result to `finish`."""
    if not clause:
        return []
    recursive = bool(clause.get("recursive"))
    made: list[CommonTable] = []
    visible = Scope(scope.parent)
    for entry in clause.get("ctes", ()):
        fields = entry["CommonTableExpr"]
        body = visible
        if not recursive:  # sees only the ones before it
            body = Scope(scope.parent)
            body.tables = dict(scope.tables)
        table = CommonTable(a, fields, body, recursive)
        made.append(table)
        scope.tables[fields["ctename"]] = table
        visible.tables[fields["ctename"]] = table
    return made


def finish(tables: list[CommonTable]) -> None:
    for table in tables:
        table.shape()


__all__ = ["CommonTable", "enter", "finish", "string"]
