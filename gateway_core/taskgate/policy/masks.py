"""Masks: which columns and which findings are hidden from whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from taskgate.domain import MaskKind, MaskRule, Principal, Target
from taskgate.policy import model
from taskgate.policy.globs import GlobSet
from taskgate.policy.principals import Fit, PrincipalFit, PrincipalMatch, compile_principals


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """A compiled mask. Exactly one of `columns` and `detect` is there. `place` is `file:line`."""

    id: str
    kind: MaskKind
    targets: GlobSet
    principals: PrincipalMatch
    columns: GlobSet | None
    detect: tuple[str, ...] | None
    predicates: bool
    flows: bool
    place: str

    @property
    def exempts(self) -> bool:
        return self.kind is MaskKind.NONE

    def fit(self, principal: Principal) -> PrincipalFit:
        return self.principals.fit(principal)

    def applies(self, principal: Principal, target: Target) -> bool:
        """A mask that may be meant applies; an exemption only where it surely is."""
        if not self.targets.matches(target.name):
            return False
        fit = self.fit(principal).fit
        return fit is Fit.YES if self.exempts else fit is not Fit.NO


def compile_mask(spec: model.Mask, name: str, detectors: Iterable[str], place: str) -> Mask:
    """`name` is used where the mask has no id of its own; `detectors` are all there are."""
    globs = GlobSet(spec.detect) if spec.detect is not None else None
    return Mask(
        id=spec.id or name,
        kind=spec.kind,
        targets=GlobSet(spec.targets),
        principals=compile_principals(spec.principals, verdict=None, exempts=spec.kind is MaskKind.NONE),
        columns=GlobSet(spec.columns) if spec.columns is not None else None,
        detect=tuple(sorted(filter(globs.matches, detectors))) if globs is not None else None,
        predicates=spec.predicates == "allow",
        flows=spec.flows == "allow",
        place=place,
    )


def _merged(masks: Iterable[Mask], name: str | None = None) -> MaskRule | None:
    """The strictest of these; what the values may be used for has to be allowed by every one."""
    found = sorted(masks, key=lambda mask: (-mask.kind.strictness, mask.id))
    if not found:
        return None
    return MaskRule(
        id=name or found[0].id,
        kind=found[0].kind,
        predicates=all(mask.predicates for mask in found),
        flows=all(mask.flows for mask in found),
    )


class EffectiveMasks:
    """The masks of one principal on one target, exemptions applied."""

    def __init__(self, masks: Iterable[Mask]) -> None:
        """`masks`: those that apply (`Mask.applies`)."""
        self.applied = tuple(masks)
        self._columns = tuple(mask for mask in self.applied if mask.columns is not None and not mask.exempts)
        self._exempt = tuple(mask.columns for mask in self.applied if mask.columns is not None and mask.exempts)

    def exempted(self, name: str) -> bool:
        """Whether the principal may see this column (`schema.table.column`) in clear, in so many words."""
        return any(globs.matches(name) for globs in self._exempt)

    def column(self, name: str) -> MaskRule | None:
        """What becomes of this column (`schema.table.column`); None where it is not masked."""
        if not self._columns or self.exempted(name):
            return None
        return _merged(mask for mask in self._columns if mask.columns is not None and mask.columns.matches(name))

    @cached_property
    def detectors(self) -> Mapping[str, MaskRule]:
        """What becomes of findings, by detector."""
        by_name: dict[str, list[Mask]] = {}
        exempt: set[str] = set()
        for mask in self.applied:
            for name in mask.detect or ():
                if mask.exempts:
                    exempt.add(name)
                else:
                    by_name.setdefault(name, []).append(mask)
        rules = {name: _merged(masks, name) for name, masks in sorted(by_name.items()) if name not in exempt}
        return MappingProxyType({name: rule for name, rule in rules.items() if rule is not None})

    @property
    def empty(self) -> bool:
        """Nothing is masked, whatever the statement."""
        return not self._columns and not self.detectors
