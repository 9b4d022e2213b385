"""The functions and macros conditions may use: those of CEL's standard that cost what their input costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from taskgate.policy.fact_names import BOOL, DOUBLE, DURATION, DYN, INT, STRING, TIMESTAMP, Type


@dataclass(frozen=True, slots=True)
class Overload:
    """`literal`: the last operand has to be written out in the condition, so that it is checked when policy loads."""

    takes: tuple[Type, ...]
    gives: Type
    literal: bool = False


_LIST = Type("list", DYN)
_MAP = Type("map", DYN)
_SIZE = tuple(Overload((kind,), INT) for kind in (STRING, _LIST, _MAP))
_PARTS = "getFullYear getMonth getDate getDayOfMonth getDayOfWeek getDayOfYear".split()
_CLOCK = "getHours getMinutes getSeconds getMilliseconds".split()

#: What goes over a list, with a name for the element.
MACROS: frozenset[str] = frozenset({"exists", "all", "exists_one", "filter", "map"})

FUNCTIONS: Mapping[str, tuple[Overload, ...]] = {
    "size": _SIZE,
    "int": tuple(Overload((kind,), INT) for kind in (STRING, DOUBLE, INT)),
    "double": tuple(Overload((kind,), DOUBLE) for kind in (STRING, INT, DOUBLE)),
    "string": tuple(Overload((kind,), STRING) for kind in (INT, DOUBLE, STRING)),
    "timestamp": (Overload((STRING,), TIMESTAMP, literal=True),),
    "duration": (Overload((STRING,), DURATION, literal=True),),
}

METHODS: Mapping[str, tuple[Overload, ...]] = {
    "size": _SIZE,
    "contains": (Overload((STRING, STRING), BOOL),),
    "startsWith": (Overload((STRING, STRING), BOOL),),
    "endsWith": (Overload((STRING, STRING), BOOL),),
    "matches": (Overload((STRING, STRING), BOOL, literal=True),),
    **{name: (Overload((TIMESTAMP,), INT),) for name in _PARTS},
    **{name: (Overload((TIMESTAMP,), INT), Overload((DURATION,), INT)) for name in _CLOCK},
}
