"""Names that only the session knows: prepared statements, cursors and portals, temporary relations, recent DDL.

The gateway must never believe a name means something else than it means on the server, so every change has two phases.
The proxy stages a statement's `name_changes` when it forwards the statement, and when the server has answered it
confirms them (CommandComplete, ParseComplete, BindComplete) or discards them (ErrorResponse, or the statement was
skipped until Sync):

    ticket = names.stage(facts.name_changes)
    names.confirm(ticket)          # or names.discard(ticket)

While a change is pending both readings of a name are possible, and every lookup returns all of them; the analysis then
takes the union of what they do. A confirmed change is exact: PostgreSQL refuses to prepare or declare a name that is
live, so success means that the name now has this meaning and no other.

Protocol-level names share PostgreSQL's name spaces: a Parse with a name is `Prepared`, a Bind to a named portal is
`CursorOpened`, Close is `Deallocated` or `CursorClosed`. The proxy stages those itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from taskgate.domain import Facts

Sources = frozenset[str]


@dataclass(frozen=True, slots=True)
class Prepared:
    """`query` is the raw parse tree of the statement (one `stmt` node): it is analysed again at every EXECUTE, because
    PostgreSQL plans it again when the catalogue or search_path have changed."""

    name: str
    query: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Deallocated:
    name: str | None  # None: all


@dataclass(frozen=True, slots=True)
class CursorOpened:
    name: str
    facts: Facts  # of the cursor's query


@dataclass(frozen=True, slots=True)
class CursorClosed:
    name: str | None  # None: all


@dataclass(frozen=True, slots=True)
class SessionRelation:
    """A relation the session created and the catalogue does not (yet) know. `columns` are (name, sources) in order,
    None where they are not known; `schema` is `pg_temp` for a temporary one."""

    schema: str
    name: str
    columns: tuple[tuple[str, Sources], ...] | None = None


@dataclass(frozen=True, slots=True)
class RelationCreated:
    relation: SessionRelation


@dataclass(frozen=True, slots=True)
class RelationDropped:
    schema: str | None  # None: written without one
    name: str


@dataclass(frozen=True, slots=True)
class DefinitionsChanged:
    """DDL. `code`: functions, operators, casts, types or extensions may have changed, so that what an unqualified name
    calls is uncertain; `renamed`: relations may have other names or other columns than the catalogue says."""

    code: bool = False
    renamed: bool = False


@dataclass(frozen=True, slots=True)
class TemporaryDiscarded:
    """DISCARD TEMP, DISCARD ALL."""


@dataclass(frozen=True, slots=True)
class SearchPathMoved:
    """search_path, or the role that `"$user"` in it means, may have another value now; the end of the transaction may
    bring the old one back."""


NameChange = (
    Prepared
    | Deallocated
    | CursorOpened
    | CursorClosed
    | RelationCreated
    | RelationDropped
    | DefinitionsChanged
    | TemporaryDiscarded
    | SearchPathMoved
)


class SessionNames:
    """One session's names. Not thread-safe; belongs to the session's event loop."""

    def __init__(self) -> None:
        self._prepared: dict[str, dict[str, Any]] = {}
        self._cursors: dict[str, Facts] = {}
        self._relations: dict[tuple[str, str], tuple[SessionRelation, ...]] = {}
        self._dropped: set[tuple[str, str]] = set()  # gone unless the transaction rolls back
        self._changed = DefinitionsChanged()
        self._definitions_changed = False
        self._path_moved = False
        self._pending: dict[int, tuple[NameChange, ...]] = {}
        self._tickets = 0

    # --- two phases ---

    def stage(self, changes: Sequence[NameChange]) -> int:
        """These changes are on their way to the server. Returns the ticket for `confirm` or `discard`."""
        self._tickets += 1
        if changes:
            self._pending[self._tickets] = tuple(changes)
        return self._tickets

    def confirm(self, ticket: int) -> None:
        """The server did it. An unknown ticket (nothing was staged under it) is ignored."""
        for change in self._pending.pop(ticket, ()):
            self._apply(change)

    def discard(self, ticket: int) -> None:
        """The server did not do it."""
        self._pending.pop(ticket, None)

    def transaction_ended(self, *, committed: bool) -> None:
        """ReadyForQuery says that no transaction is open (any more). Dropped relations are gone for good, or back."""
        self._path_moved = False
        if committed:
            for key in self._dropped:
                self._relations.pop(key, None)
        self._dropped.clear()

    def catalog_refreshed(self) -> None:
        """The catalogue was read after this session's last DDL was committed or rolled back: it knows better now."""
        self._changed = DefinitionsChanged()
        self._definitions_changed = False
        self._relations = {key: found for key, found in self._relations.items() if key[0] == "pg_temp"}

    def including(self, changes: Iterable[NameChange]) -> SessionNames:
        """A copy in which `changes` are pending too: how a later statement of the same text sees an earlier one."""
        copy = SessionNames()
        copy._prepared, copy._cursors, copy._relations = self._prepared, self._cursors, self._relations
        copy._changed, copy._definitions_changed = self._changed, self._definitions_changed
        copy._path_moved = self._path_moved
        copy._pending = dict(self._pending)
        copy._tickets = self._tickets
        copy.stage(tuple(changes))
        return copy

    def _apply(self, change: NameChange) -> None:
        match change:
            case Prepared(name, query):
                self._prepared[name] = query
            case Deallocated(None):
                self._prepared.clear()
            case Deallocated(name):
                self._prepared.pop(name or "", None)
            case CursorOpened(name, facts):
                self._cursors[name] = facts
            case CursorClosed(None):
                self._cursors.clear()
            case CursorClosed(name):
                self._cursors.pop(name or "", None)
            case RelationCreated(relation):
                self._created(relation)
            case RelationDropped(schema, name):
                self._dropped.update(key for key in self._relations if key[1] == name and schema in (None, key[0]))
            case TemporaryDiscarded():
                self._relations = {key: found for key, found in self._relations.items() if key[0] != "pg_temp"}
            case SearchPathMoved():
                self._path_moved = True
            case DefinitionsChanged():
                self._definitions_changed = True
                self._changed = _merged(self._changed, change)

    def _created(self, relation: SessionRelation) -> None:
        key = (relation.schema, relation.name)
        self._dropped.discard(key)
        known = self._relations.get(key, ())
        if relation not in known:
            self._relations[key] = (*known, relation)

    # --- lookups: every reading that is possible ---

    def _waiting(self) -> Iterable[NameChange]:
        for changes in self._pending.values():
            yield from changes

    def prepared(self, name: str) -> tuple[dict[str, Any], ...]:
        """Parse trees that EXECUTE of `name` may run."""
        found = [self._prepared[name]] if name in self._prepared else []
        found += [change.query for change in self._waiting() if isinstance(change, Prepared) and change.name == name]
        return tuple(found)

    def cursors(self, name: str) -> tuple[Facts, ...]:
        """Facts of the queries that FETCH from `name` may return rows of."""
        found = [self._cursors[name]] if name in self._cursors else []
        found += [
            change.facts for change in self._waiting() if isinstance(change, CursorOpened) and change.name == name
        ]
        return tuple(found)

    def relations(self, schema: str, name: str) -> tuple[SessionRelation, ...]:
        """What the session may have created under this name."""
        found = self._relations.get((schema, name), ())
        if not self._pending:
            return found
        pending = tuple(
            change.relation
            for change in self._waiting()
            if isinstance(change, RelationCreated)
            and (change.relation.schema, change.relation.name) == (schema, name)
            and change.relation not in found
        )
        return found + pending

    @property
    def path_moved(self) -> bool:
        """Whether search_path may have moved in the open transaction, so that its end may move it back."""
        return self._path_moved or any(isinstance(change, SearchPathMoved) for change in self._waiting())

    @property
    def has_objects(self) -> bool:
        """Whether names may mean something that the catalogue does not know: no decision may be shared."""
        if self._relations or self._definitions_changed:
            return True
        return bool(self._pending) and any(
            isinstance(change, RelationCreated | DefinitionsChanged) for change in self._waiting()
        )

    @property
    def definitions_changed(self) -> DefinitionsChanged:
        """What DDL of this session since the catalogue was read makes uncertain, pending DDL included."""
        changed = self._changed
        for change in self._waiting():
            if isinstance(change, DefinitionsChanged):
                changed = _merged(changed, change)
        return changed


def _merged(one: DefinitionsChanged, other: DefinitionsChanged) -> DefinitionsChanged:
    return DefinitionsChanged(code=one.code or other.code, renamed=one.renamed or other.renamed)
