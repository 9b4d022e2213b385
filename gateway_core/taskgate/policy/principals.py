"""Whom a rule or mask is about."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from taskgate.domain import Assurance, Principal, PrincipalKind, Verdict
from taskgate.policy import model
from taskgate.policy.fact_names import MATCHABLE, OF_TASKS
from taskgate.policy.facts import Unknown, attribute
from taskgate.policy.globs import GlobSet, names_everything

EVERY_ASSURANCE = frozenset(Assurance)
_VERIFIED = frozenset({Assurance.VERIFIED})


class Fit(Enum):
    """UNSURE: whether it is about this principal hangs on something not known, or known less well than it asks for."""

    YES = "yes"
    NO = "no"
    UNSURE = "unsure"


class PrincipalFit(NamedTuple):
    """`name` and `value` are what decided; the words are only made when somebody reads them."""

    fit: Fit
    name: str = ""
    value: object = None

    @property
    def why(self) -> str:
        if self.fit is Fit.YES:
            return ""
        if self.fit is Fit.UNSURE and self.name == "assurance":
            return f"it is about verified principals, and this one is {self.value}"
        if self.value is None:
            return f"principal.{self.name} is not known" if self.fit is Fit.UNSURE else f"it has no {self.name}"
        return f"principal.{self.name} is {json.dumps(self.value, ensure_ascii=False)}"


_YES = PrincipalFit(Fit.YES)


@dataclass(frozen=True, slots=True)
class PrincipalMatch:
    """Compiled `principals`. `assurances` None: every one. `asserts` is true where the file states the assurance."""

    kinds: frozenset[PrincipalKind] | None
    assurances: frozenset[Assurance]
    asserts: bool
    source: GlobSet | None
    name: GlobSet | None
    groups: GlobSet | None
    attributes: tuple[tuple[str, GlobSet], ...]

    def fit(self, principal: Principal) -> PrincipalFit:
        """Whether this principal is meant, and if not why not, for people."""
        if self.kinds is not None and principal.kind not in self.kinds:
            return PrincipalFit(Fit.NO, "kind", principal.kind)
        if self.source is not None and not self.source.matches(principal.source):
            return PrincipalFit(Fit.NO, "source", principal.source)
        if self.name is not None and not self.name.matches(principal.name):
            return PrincipalFit(Fit.NO, "name", principal.name)
        if self.groups is not None and not any(map(self.groups.matches, principal.groups)):
            return PrincipalFit(Fit.NO, "groups", principal.groups)
        unsure = ""
        for name, globs in self.attributes:
            try:
                value = principal.verified_by if name == "verified_by" else attribute(principal, name)
            except Unknown:
                if name in OF_TASKS and principal.kind is not PrincipalKind.TASK:
                    return PrincipalFit(Fit.NO, name)
                unsure = name
                continue
            values = value if isinstance(value, list) else [str(value)]
            if not any(map(globs.matches, values)):
                return PrincipalFit(Fit.NO, name, value)
        if principal.assurance not in self.assurances:
            if self.asserts:
                return PrincipalFit(Fit.NO, "assurance", principal.assurance)
            return PrincipalFit(Fit.UNSURE, "assurance", principal.assurance)
        return PrincipalFit(Fit.UNSURE, unsure) if unsure else _YES


def _globs(patterns: tuple[str, ...] | None) -> GlobSet | None:
    return GlobSet(patterns) if patterns is not None else None


def compile_principals(
    spec: model.Principals | None, *, verdict: Verdict | None, exempts: bool = False
) -> PrincipalMatch:
    """Without a stated assurance, what grants (allow, approve, an exemption from a mask) is for verified principals and
    what restricts (deny, a mask) is for everybody."""
    spec = spec or model.Principals()
    grants = exempts if verdict is None else verdict is not Verdict.DENY
    stated = spec.assurance
    if stated is None:
        assurances = _VERIFIED if grants else EVERY_ASSURANCE
    elif "any" in stated:
        assurances = EVERY_ASSURANCE
    else:
        assurances = frozenset(Assurance(name) for name in stated)
    attributes = tuple((name, GlobSet(value)) for name, value in sorted(model.plain(spec).items()) if name in MATCHABLE)
    return PrincipalMatch(
        kinds=frozenset(spec.kind) if spec.kind is not None else None,
        assurances=assurances,
        asserts=stated is not None,
        source=_globs(spec.source),
        name=_globs(spec.name),
        groups=_globs(spec.groups),
        attributes=attributes,
    )


def names_somebody(spec: model.Principals | None) -> bool:
    """Whether it says who, and not only what kind of principal or how well known."""
    if spec is None:
        return False
    named = {name: value for name, value in model.plain(spec).items() if name not in ("kind", "assurance")}
    return any(not all(map(names_everything, value)) for value in named.values())
