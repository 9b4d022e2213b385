"""From a statement's facts to what becomes of each of its results' cells; a refusal where masking cannot hide a value.

`MaskedColumns` is worked out once for a principal's masks and a catalogue; `plan` then costs a few set operations.

Where the result's columns are unknown (`facts.outputs` is None) and masked columns are read, every column of the result
is masked, at least redacted: the statement stays usable (a cursor the gateway lost sight of, a function's rows) and
nothing gets out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Literal, Protocol, TypeVar

from taskgate.domain import Facts, MaskKind, MaskRule
from taskgate.errors import MaskingFault, PolicyRefusal, RuleMatch
from taskgate.masking.maskers import PLACEHOLDER, at_least_redacted, mask, strictest
from taskgate.masking.scanner import Scanner

Origin = tuple[int, int]
MaskAction = bytes | Literal[True] | Callable[[bytes], bytes | None]
_K = TypeVar("_K")
WITHHELD = "text withheld: it may hold values of a masked column"

# Effects whose errors cannot quote a row that the statement does not read.
_QUOTES_NO_ROW = frozenset({"sql.select", "sql.explain", "sql.set", "sql.transaction", "sql.session", "sql.listen"})
_NO_DETECTORS: Mapping[str, MaskRule] = MappingProxyType({})
_NO_ORIGINS: Mapping[Origin, MaskRule] = MappingProxyType({})


class Masks(Protocol):
    """The masks of one principal on one target, exemptions applied (policy's `EffectiveMasks`)."""

    def column(self, name: str) -> MaskRule | None: ...
    def exempted(self, name: str) -> bool: ...
    @property
    def detectors(self) -> Mapping[str, MaskRule]: ...
    @property
    def empty(self) -> bool: ...


class ColumnCatalog(Protocol):
    """What masking asks of the catalogue. Columns are named `schema.relation.column`."""

    @property
    def column_names(self) -> frozenset[str]:
        """Every column the catalogue knows."""

    def origin(self, column: str) -> Origin | None:
        """(relation OID, attribute number), as RowDescription gives them."""

    def closure(self, columns: Iterable[str]) -> Iterable[str]:
        """The columns that carry the values of these: partitions, children, outputs of views."""


@dataclass(frozen=True, slots=True, eq=False)
class MaskPlan:
    """What becomes of the cells of one statement's result. Immutable, shared by all its executions.

    `active` false: bytes and texts pass untouched. `positions`: the mask of each result column, in order; None where
    they are unknown. `whole`: a mask for every column, whatever `positions` say. `origins`: masks by (relation OID,
    attribute number), a net below the analysis. `detectors`: masks by detector name, for whatever is not masked yet.
    `touched`: a masked column is involved, free texts are withheld. `spared`: for each result column, in order, whether
    policy exempts everything that it is made of by name; None where positions are unknown. `spared_origins`: the
    columns exempted so, by origin. Detectors leave what is spared alone.
    """

    active: bool = False
    positions: tuple[MaskRule | None, ...] | None = None
    origins: Mapping[Origin, MaskRule] = field(default_factory=lambda: _NO_ORIGINS)
    detectors: Mapping[str, MaskRule] = field(default_factory=lambda: _NO_DETECTORS)
    touched: bool = False
    whole: MaskRule | None = None
    hash_key: bytes = field(default=b"", repr=False)
    spared: tuple[bool, ...] | None = None
    spared_origins: frozenset[Origin] = frozenset()

    @property
    def scanner(self) -> Scanner | None:
        """Finds what the detectors look for; None without detectors."""
        return Scanner.of(self.detectors, self.hash_key) if self.detectors else None

    def column_rules(self, columns: Sequence[tuple[str, Origin | None]]) -> list[MaskRule | None]:
        """The mask of each column of a result: (name, origin), origin None where the column is none of a relation's.

        Raises MaskingFault where the result has another number of columns than the statement was found to have."""
        if self.positions is not None and len(self.positions) != len(columns):
            raise MaskingFault(
                f"the result has {len(columns)} columns, the statement was found to have {len(self.positions)}",
                hint="Select columns by name; if this persists, the target's catalogue and the gateway's differ.",
            )
        scanner = self.scanner
        spared = self.spared_columns([origin for _, origin in columns])
        rules = []
        for index, (name, origin) in enumerate(columns):
            rule = strictest(
                self.positions[index] if self.positions is not None else None,
                self.whole,
                self.origins.get(origin) if origin else None,
                scanner.named(name) if scanner and not spared[index] else None,
            )
            # The end of `left(ssn, 5)` is not the end of an SSN: what is no plain column is never shown in part.
            rules.append(rule if rule is None or origin else at_least_redacted(rule))
        return rules

    def spared_columns(self, origins: Sequence[Origin | None]) -> tuple[bool, ...]:
        """Which columns of a result detectors leave alone. What the analysis and the server say has to agree; one of
        them has to say so."""
        by_position = self.spared if self.spared is not None and len(self.spared) == len(origins) else None
        if by_position is None:
            return tuple(origin in self.spared_origins for origin in origins)
        return tuple(
            spared and (origin is None or origin in self.spared_origins)
            for spared, origin in zip(by_position, origins, strict=True)
        )

    def action(self, rule: MaskRule) -> MaskAction:
        """What a mask does to a cell's text: always this, NULL (True), or what a function makes of it."""
        if rule.kind is MaskKind.REDACT:
            return PLACEHOLDER
        if rule.kind in (MaskKind.HASH, MaskKind.PARTIAL):
            return partial(mask, rule.kind, hash_key=self.hash_key)
        return True

    def scrub(self, text: str) -> str:
        """The text of an error, a notice, a notification: withheld where a masked column is involved, else with what
        the detectors find replaced."""
        if self.touched:
            return WITHHELD if text else text
        scanner = self.scanner
        return scanner.scrub(text) if scanner else text


UNMASKED = MaskPlan()


class MaskedColumns:
    """Every masked column of a target for one principal: by name and by origin, partitions and views included."""

    def __init__(self, masks: Masks, catalog: ColumnCatalog, hash_key: bytes) -> None:
        self._masks = masks
        self.detectors = masks.detectors
        self.hash_key = hash_key
        self.empty = masks.empty
        self.rules: dict[str, MaskRule] = {}
        self.origins: dict[Origin, MaskRule] = {}
        self.relations: dict[str, MaskRule] = {}
        self.spared: frozenset[str] = frozenset()
        self.spared_origins: frozenset[Origin] = frozenset()
        if not masks.empty:
            self._collect(masks, catalog)
        if self.detectors:
            self._spare(masks, catalog)
        detecting = bool(self.detectors)
        self.baseline = MaskPlan(detecting, detectors=self.detectors, hash_key=hash_key) if detecting else UNMASKED
        """For result paths that belong to no statement: detectors only."""

    def rule(self, column: str) -> MaskRule | None:
        """The mask of a column; one that the catalogue does not know is matched by the name as written."""
        return self.rules.get(column) or self._masks.column(column)

    def _collect(self, masks: Masks, catalog: ColumnCatalog) -> None:
        by_rule: dict[MaskRule, set[str]] = {}
        for column in catalog.column_names:
            rule = masks.column(column)
            if rule is not None and rule.kind is not MaskKind.NONE:
                by_rule.setdefault(rule, set()).add(column)
        for rule, columns in by_rule.items():
            for column in columns.union(catalog.closure(columns)):
                _tighten(self.rules, column, rule)
        for column, rule in self.rules.items():
            _tighten(self.relations, column.rpartition(".")[0], rule)
            origin = catalog.origin(column)
            if origin is not None:
                _tighten(self.origins, origin, rule)

    def _spare(self, masks: Masks, catalog: ColumnCatalog) -> None:
        """Exempted columns, less those that carry values of a column which is not."""
        exempted = {column for column in catalog.column_names if masks.exempted(column)}
        if not exempted:
            return
        self.spared = frozenset(exempted.difference(catalog.closure(catalog.column_names - exempted)))
        origins = (catalog.origin(column) for column in self.spared)
        self.spared_origins = frozenset(origin for origin in origins if origin is not None)


def plan(facts: Facts, masked: MaskedColumns) -> MaskPlan:
    """What becomes of the cells of a statement with these facts.

    Raises PolicyRefusal where a masked column stands outside the output list (unless its mask says `predicates`) or
    flows into a relation (unless `flows`): no mask of cells hides it there."""
    if masked.empty:
        return UNMASKED
    rules = _rules(facts, masked)
    _refuse_predicates(facts, rules)
    _refuse_flows(facts, rules)
    positions = _positions(facts, rules)
    written = _written(facts, masked)
    touched = bool(rules) or written is not None or (not facts.complete and bool(masked.rules))
    whole = None
    if touched and (facts.outputs is None or _explains(facts)):
        # `rules` may be empty (a function nobody looked into): then the origins and detectors are what is left.
        involved = strictest(*rules.values(), written)
        whole = at_least_redacted(involved) if involved else None
    rows = facts.returns_rows or facts.outputs is None or bool(facts.outputs)
    return MaskPlan(
        active=touched or bool(masked.detectors) or (rows and bool(masked.origins)),
        positions=positions,
        origins=masked.origins,
        detectors=masked.detectors,
        touched=touched,
        whole=whole,
        hash_key=masked.hash_key,
        spared=_spared(facts, masked),
        spared_origins=masked.spared_origins if facts.complete else frozenset(),
    )


def _rules(facts: Facts, masked: MaskedColumns) -> dict[str, MaskRule]:
    """The masked columns that the statement reads in any way."""
    columns = facts.columns_read | facts.columns_outside_output | facts.columns_flowing
    for output in facts.outputs or ():
        columns |= output.sources
    return {column: rule for column in columns if (rule := masked.rule(column)) is not None}


def _positions(facts: Facts, rules: Mapping[str, MaskRule]) -> tuple[MaskRule | None, ...] | None:
    if not facts.outputs:  # unknown, or rows that are no query's (SHOW, EXPLAIN)
        return None
    positions = []
    for output in facts.outputs:
        rule = strictest(*(rules.get(source) for source in sorted(output.sources)))
        positions.append(rule if rule is None or output.bare else at_least_redacted(rule))
    return tuple(positions)


def _spared(facts: Facts, masked: MaskedColumns) -> tuple[bool, ...] | None:
    """The outputs that are made of spared columns and of nothing else."""
    if not facts.outputs or not masked.spared or not facts.complete:
        return None
    return tuple(output.bare and bool(output.sources) and output.sources <= masked.spared for output in facts.outputs)


def _refuse_predicates(facts: Facts, rules: Mapping[str, MaskRule]) -> None:
    columns = set(facts.columns_outside_output)
    for output in facts.outputs or ():
        if not output.bare:
            columns |= output.sources
    for column in sorted(columns):
        rule = rules.get(column)
        if rule is not None and not rule.predicates:
            raise _refusal(
                column,
                rule,
                "is used where its value shows although it is masked",
                detail="WHERE, JOIN, GROUP BY, ORDER BY, DISTINCT, set operations, expressions and casts tell about a"
                " value without printing it.",
                hint=f"Select {column} by its bare name only, or leave it out. A policy author can add"
                " `predicates: allow` to the mask.",
            )


def _refuse_flows(facts: Facts, rules: Mapping[str, MaskRule]) -> None:
    for column in sorted(facts.columns_flowing):
        rule = rules.get(column)
        if rule is not None and not rule.flows:
            raise _refusal(
                column,
                rule,
                "would be written into a relation, where its mask does not follow",
                detail="INSERT … SELECT, CREATE TABLE or VIEW AS, SELECT INTO, UPDATE … SET and MERGE copy values.",
                hint=f"Leave {column} out of what is written. A policy author can add `flows: allow` to the mask.",
            )


def _refusal(column: str, rule: MaskRule, what: str, *, detail: str, hint: str) -> PolicyRefusal:
    return PolicyRefusal(
        f"masked column {column} {what} (mask {rule.id}: {rule.kind})",
        rules=(RuleMatch(rule.id, "mask", f"{column} {what}"),),
        detail=detail,
        hint=hint,
    )


def _written(facts: Facts, masked: MaskedColumns) -> MaskRule | None:
    """The mask of a relation that is changed: "Failing row contains (…)" quotes columns that no statement reads."""
    return strictest(
        *(masked.relations.get(pair.object) for pair in facts.pairs if pair.effect not in _QUOTES_NO_ROW),
    )


def _explains(facts: Facts) -> bool:
    return any(pair.effect == "sql.explain" for pair in facts.pairs)


def _tighten(rules: dict[_K, MaskRule], key: _K, rule: MaskRule) -> None:
    """The strictest mask; what the values may be used for has to be allowed by all of them."""
    known = rules.get(key)
    if known is None:
        rules[key] = rule
        return
    kept = strictest(known, rule) or rule
    rules[key] = replace(kept, predicates=known.predicates and rule.predicates, flows=known.flows and rule.flows)
