"""Texts and what they do: analysed once, shared by every session that sends the same text in the same surroundings."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from taskgate.domain import Action, Environment, Facts
from taskgate.errors import GatewayFault, TaskgateError
from taskgate.protocols.postgres.copy_out import CopyOut, copy_outs
from taskgate.sql import search_path
from taskgate.sql.literals import skeleton
from taskgate.sql.settings import IDENTITY

if TYPE_CHECKING:
    from taskgate.sql.catalog import Catalog
    from taskgate.sql.names import SessionNames

PROTOCOL = "postgres"
_MOST_SURROUNDINGS = 1_000
# Effects after which settings, names or the role may be other ones than before.
_UNSETTLING = frozenset({"sql.set", "sql.do", "sql.call", "sql.unknown", "sql.session"})
_BEGINS = frozenset({"BEGIN", "START TRANSACTION"})


class Analyze(Protocol):
    """`taskgate.sql.postgres.analyze`."""

    def __call__(
        self, text: str, catalog: Catalog, search_path: Sequence[str], names: SessionNames | None
    ) -> tuple[Facts, ...]: ...


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """What besides the text decides what it means. Replaced as a whole; statements remember theirs."""

    environment: Environment
    search_path: tuple[str, ...]
    catalog: Catalog


@dataclass(slots=True, eq=False)
class Statement:
    """One text, analysed. `action` is judged when it executes, `preparing` when it is only parsed."""

    surroundings: Surroundings
    action: Action
    facts: tuple[Facts, ...] = field(init=False)
    unsettling: bool = field(init=False)  # settings may be other ones afterwards
    may_change_role: bool = field(init=False)
    volatile: bool = field(init=False)  # means something else as soon as the session's own names change
    transaction_control: bool = field(init=False)
    begins: bool = field(init=False)
    copies_in: bool = field(init=False)
    copies_out: bool = field(init=False)
    changes_catalog: bool = field(init=False)
    literal_sensitive: bool = field(init=False)
    _preparing: Action | None = field(init=False, default=None)
    _copy_outs: tuple[CopyOut | None, ...] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        action = self.action
        self.facts = action.facts
        effects = frozenset(pair.effect for facts in self.facts for pair in facts.pairs)
        self.literal_sensitive = any(facts.literal_sensitive for facts in self.facts)
        self.unsettling = bool(effects & _UNSETTLING) or not action.complete
        self.may_change_role = self.unsettling and (
            not action.complete
            or bool(effects - {"sql.set", "sql.select"})
            or any(pair.object in IDENTITY for facts in self.facts for pair in facts.pairs)
        )
        self.volatile = any(facts.session_objects for facts in self.facts)
        self.transaction_control = "sql.transaction" in effects
        self.begins = len(self.facts) == 1 and self.facts[0].tag in _BEGINS
        self.copies_out = "sql.copy_out" in effects
        self.copies_in = "sql.copy_in" in effects
        self.changes_catalog = "sql.ddl" in effects or "sql.dcl" in effects or not action.complete

    @property
    def preparing(self) -> Action:
        """The action while it is only parsed: no parameters, nobody is asked."""
        if self._preparing is None:
            self._preparing = replace(self.action, parameters=None, executes=False)
        return self._preparing

    @property
    def copy_outs(self) -> tuple[CopyOut | None, ...]:
        """How each statement's COPY TO writes; None for statements that are none. Raises ClientFault."""
        if self._copy_outs is None:
            self._copy_outs = copy_outs(self.action.text) if self.copies_out else (None,) * len(self.facts)
        return self._copy_outs

    def like(self, text: str) -> Statement:
        """The same with another text that means the same but for number literals."""
        other = copy.copy(self)
        action = self.action
        other.action = Action(
            action.protocol,
            text,
            action.facts,
            action.environment,
            action.parameters,
            action.parameter_types,
            True,
            action.streams,
            shape=action.shape,
        )
        other._preparing = None
        return other


class Analyst:
    """Analyses texts, and remembers. One a listener; bounded, least recently used goes first."""

    def __init__(self, analyze: Analyze, *, capacity: int = 4096, most_text: int = 64 * 1024) -> None:
        self._analyze = analyze
        self._capacity = capacity
        self._most_text = most_text
        self._kept: OrderedDict[tuple[object, ...], Statement] = OrderedDict()
        self._surroundings: OrderedDict[tuple[Environment, int], Surroundings] = OrderedDict()

    def surroundings(self, environment: Environment, catalog: Catalog) -> Surroundings:
        """The same object for equal ones, so that sessions share what was analysed in them."""
        key = (environment, id(catalog))
        found = self._surroundings.get(key)
        if found is None or found.catalog is not catalog:
            path = search_path.parse(environment.search_path, environment.role)
            found = self._surroundings[key] = Surroundings(environment, path, catalog)
            if len(self._surroundings) > _MOST_SURROUNDINGS:
                self._surroundings.popitem(last=False)
        return found

    def statement(
        self, text: str, types: tuple[int, ...], surroundings: Surroundings, names: SessionNames | None, target: str
    ) -> Statement:
        """Raises what the analysis raises: SyntaxFault and its kin, all of which refuse the statement only. What a text
        means to a session with objects of its own (`names`) is neither taken from others nor kept for them."""
        if names is not None and names.has_objects:
            return self.analysed(text, types, surroundings, names)
        known, key, shape = self._known(text, types, surroundings, target)
        if known is not None:
            return known
        statement = self.analysed(text, types, surroundings, names, shape)
        if len(text) <= self._most_text and not statement.volatile:
            self._kept[key] = statement
            if len(self._kept) > self._capacity:
                self._kept.popitem(last=False)
        return statement

    def known(
        self, text: str, types: tuple[int, ...], surroundings: Surroundings, names: SessionNames | None, target: str
    ) -> Statement | None:
        """What `statement` would give without any analysis."""
        if names is not None and names.has_objects:
            return None
        return self._known(text, types, surroundings, target)[0]

    def _known(
        self, text: str, types: tuple[int, ...], surroundings: Surroundings, target: str
    ) -> tuple[Statement | None, tuple[object, ...], str | None]:
        # Statements of a text with number literals share their analysis, where the numbers cannot matter.
        shape = skeleton(text[:-1] if text.endswith(";") else text)
        key = (target, text if shape is None else shape, types, surroundings, shape is None)
        statement = self._kept.get(key)
        if statement is not None and statement.literal_sensitive and shape is not None:
            key = (target, text, types, surroundings, True)
            statement, shape = self._kept.get(key), None
        if statement is not None and (shape is None or statement.action.text == text):
            self._kept.move_to_end(key)
            return statement, key, shape
        if statement is not None and not statement.literal_sensitive:
            return statement.like(text), key, shape
        return None, key, shape

    def analysed(
        self, text: str, types: tuple[int, ...], surroundings: Surroundings, names: SessionNames | None,
        shape: str | None = None,
    ) -> Statement:  # fmt: skip
        """The statement, analysed anew and kept nowhere: what may run in another thread."""
        facts = self._analyze(text, surroundings.catalog, surroundings.search_path, names)
        streams = any(pair.effect == "sql.copy_in" for each in facts for pair in each.pairs)
        sensitive = any(each.literal_sensitive for each in facts)
        action = Action(
            PROTOCOL,
            text,
            facts,
            surroundings.environment,
            parameters=(),
            parameter_types=types,
            streams=streams,
            shape="" if sensitive or shape is None else shape,
        )
        return Statement(surroundings, action)


class LongAnalysis:
    """One long text, to be analysed in another thread; kept by its session until the next."""

    def __init__(
        self, analyst: Analyst, text: str, types: tuple[int, ...], surroundings: Surroundings, names: SessionNames
    ) -> None:
        self._analyst = analyst
        self._question = (text, types, surroundings)
        self._names = names
        self._outcome: Statement | TaskgateError | None = None

    def of(self, text: str, types: tuple[int, ...], surroundings: Surroundings) -> bool:
        """Whether this is the answer to that question, given once: names may be others the next time."""
        mine = self._question
        return self._outcome is not None and surroundings is mine[2] and types == mine[1] and text == mine[0]

    def run(self) -> None:
        text, types, surroundings = self._question
        try:
            statement = self._analyst.analysed(text, types, surroundings, self._names)
            _ = statement.copy_outs
            self._outcome = statement
        except TaskgateError as error:
            self._outcome = error

    def result(self) -> Statement:
        """Raises what the analysis raised."""
        outcome = self._outcome
        if isinstance(outcome, Exception):
            raise outcome
        if outcome is None:
            raise GatewayFault("taskgate: the statement has not been analysed")
        return outcome
