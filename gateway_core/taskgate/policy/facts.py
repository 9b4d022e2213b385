"""The values of facts for one decision: only those that its conditions look at are worked out.

A fact that is not known is left out, so that cel reports it missing; one that is too large to look at is left out and
named, so that it counts as a failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from taskgate.domain import Action, Facts, Principal, Target
from taskgate.policy.decision import Context
from taskgate.policy.fact_names import ACTION, CONTEXT, MATCHABLE, PRINCIPAL, TARGET, WEEKDAYS, Type
from taskgate.policy.parameter_texts import Undecodable, text_of

_LONGEST_LIST = 1000
_LONGEST_TEXT = 64 * 1024
_CHANGING = frozenset({"sql.update", "sql.delete", "sql.merge"})


class Unknown(Exception):
    """There is no such fact here."""


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def attribute(principal: Principal, name: str) -> Any:
    """An attribute that only some principals have. Of a task, the attempt itself knows some better than anybody's
    attributes. Raises Unknown, also where the value has not the fact's type."""
    value: Any = None
    if principal.attempt is not None:
        task = principal.attempt.task
        of_attempt = {
            "dag_id": task.dag_id,
            "task_id": task.task_id,
            "run_id": task.run_id,
            "map_index": task.map_index,
            "try_number": principal.attempt.try_number,
            "logical_date": principal.attempt.logical_date or None,
        }
        value = of_attempt.get(name)
    if value is None:
        value = principal.attributes.get(name)
    if value is None or not _has_type(value, PRINCIPAL[name].type):
        raise Unknown(name)
    return list(value) if isinstance(value, tuple) else value


def _has_type(value: object, kind: Type) -> bool:
    if kind.name == "list":
        return isinstance(value, tuple)
    if kind.name == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, str)


def _attributes(principal: Principal) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in principal.attributes.items()}


_PRINCIPAL: Mapping[str, Callable[[Principal], Any]] = {
    "kind": lambda principal: str(principal.kind),
    "name": lambda principal: principal.name,
    "source": lambda principal: principal.source,
    "assurance": lambda principal: str(principal.assurance),
    "verified_by": lambda principal: principal.verified_by,
    "groups": lambda principal: list(principal.groups),
    "attributes": _attributes,
}


def principal_fact(principal: Principal, name: str) -> Any:
    """`principal.<name>`. Raises Unknown."""
    read = _PRINCIPAL.get(name)
    return read(principal) if read is not None else attribute(principal, name)


def _target_fact(target: Target, name: str) -> Any:
    return dict(target.labels) if name == "labels" else getattr(target, name)


def _has_where(action: Action) -> bool:
    changing = [facts for facts in action.facts if any(pair.effect in _CHANGING for pair in facts.pairs)]
    return all(facts.has_where for facts in changing or action.facts)


def _tag(action: Action) -> str:
    if len(action.facts) != 1:
        raise Unknown("tag")
    return action.facts[0].tag


def _parameters(action: Action) -> list[str | None]:
    if action.parameters is None:
        raise Unknown("parameters")
    try:
        return [text_of(parameter) for parameter in action.parameters]
    except Undecodable:
        raise Unknown("parameters") from None


def _columns(facts: Facts) -> frozenset[str]:
    return facts.columns_read | facts.columns_outside_output | facts.columns_flowing


_ACTION: Mapping[str, Callable[[Action], Any]] = {
    "protocol": lambda action: action.protocol,
    "effects": lambda action: _distinct(pair.effect for pair in action.pairs),
    "objects": lambda action: _distinct(pair.object for pair in action.pairs if pair.object),
    "tag": _tag,
    "tags": lambda action: [facts.tag for facts in action.facts],
    "statement_count": lambda action: len(action.facts),
    "has_where": _has_where,
    "complete": lambda action: action.complete,
    "changes": lambda action: action.changes,
    "columns": lambda action: sorted({column for facts in action.facts for column in _columns(facts)}),
    "functions": lambda action: sorted({name for facts in action.facts for name in facts.functions}),
    "streams": lambda action: action.streams,
    "text": lambda action: action.text,
    "parameters": _parameters,
}

_CONTEXT: Mapping[str, Callable[[Context], Any]] = {
    "time": lambda context: context.time,
    "weekday": lambda context: WEEKDAYS[context.time.weekday()],
    "hour": lambda context: context.time.hour,
    "client_address": lambda context: context.client_address,
}


def _impact_fact(context: Context, name: str) -> int:
    value = (context.impact or {}).get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unknown(name)
    return int(value)


class FactRecord:
    """The facts named by `uses` (`principal.bundle`, …). `values` is what cel is given; `oversize` names what was left
    out because it is too large."""

    def __init__(
        self, uses: Iterable[str], principal: Principal, target: Target, action: Action, context: Context
    ) -> None:
        self.values: dict[str, dict[str, Any]] = {}
        self.oversize: set[str] = set()
        for path in uses:
            root, _, name = path.partition(".")
            known = self.values.setdefault(root, {})
            try:
                value = self._read(root, name, principal, target, action, context)
            except Unknown:
                continue
            if isinstance(value, str | list | dict) and len(value) > self._limit(value):
                self.oversize.add(path)
            else:
                known[name] = value

    @staticmethod
    def _limit(value: str | list[Any] | dict[str, Any]) -> int:
        return _LONGEST_TEXT if isinstance(value, str) else _LONGEST_LIST

    @staticmethod
    def _read(root: str, name: str, principal: Principal, target: Target, action: Action, context: Context) -> Any:
        match root:
            case "principal":
                return principal_fact(principal, name)
            case "target":
                return _target_fact(target, name)
            case "action":
                return _ACTION[name](action)
            case "context":
                return _CONTEXT[name](context)
            case _:
                return _impact_fact(context, name)


# Every name has a value, every value a name: a gap would only show when a decision is taken.
assert PRINCIPAL.keys() == _PRINCIPAL.keys() | MATCHABLE | {
    "try_number",
    "run_id",
    "map_index",
    "logical_date",
    "dag_version",
    "job_variables",
    "task_assurance",
}
assert ACTION.keys() == _ACTION.keys()
assert CONTEXT.keys() == _CONTEXT.keys()
assert TARGET.keys() <= {*Target.__slots__}
