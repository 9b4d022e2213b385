"""How a COPY TO STDOUT writes its rows, as its text says: what the masker needs to know before the first row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from taskgate.domain import Facts
from taskgate.errors import ClientFault
from taskgate.masking.plan import MaskPlan
from taskgate.protocols.postgres.copy import CopyMasker
from taskgate.protocols.postgres.copy_format import CopyFormat
from taskgate.sql import libpg_query


@dataclass(frozen=True, slots=True)
class CopyOut:
    """`layout` is None for the binary format."""

    layout: CopyFormat | None
    from_relation: bool

    def masker(self, plan: MaskPlan, facts: Facts, columns: int) -> CopyMasker:
        """Raises MaskingFault where plan and columns do not fit together."""
        names = [output.name for output in facts.outputs or ()]
        layout = self.layout or CopyFormat()
        return CopyMasker(plan, columns, layout, from_relation=self.from_relation, names=names)

    def can_be_masked(self, plan: MaskPlan, facts: Facts) -> bool:
        """Binary rows pass as they are or not at all."""
        if self.layout is not None:
            return True
        return facts.outputs is not None and self.masker(plan, facts, len(facts.outputs)).identity


def copy_outs(text: str) -> tuple[CopyOut | None, ...]:
    """One entry a statement of the text; None for those that are no COPY TO. ClientFault on impossible options."""
    found: list[CopyOut | None] = []
    for statement in libpg_query.parse(text):
        fields = statement.get("stmt", {}).get("CopyStmt")
        if fields is None or fields.get("is_from"):
            found.append(None)
            continue
        options = _options(fields.get("options", ()))
        binary = options.get("format", "text").lower() == "binary"
        found.append(CopyOut(None if binary else CopyFormat.of(options), "relation" in fields))
    return tuple(found)


def _options(nodes: list[libpg_query.Node]) -> Mapping[str, str]:
    options: dict[str, str] = {}
    for node in nodes:
        fields = node["DefElem"]
        argument: dict[str, Any] = fields.get("arg", {})
        kind = next(iter(argument), "")
        value: dict[str, Any] = argument.get(kind, {})
        if kind == "String":
            options[fields["defname"]] = value.get("sval", "")
        elif kind == "Boolean":
            options[fields["defname"]] = "true" if value.get("boolval") else "false"
        elif kind == "Integer":
            options[fields["defname"]] = str(value.get("ival", 0))
        elif not argument:
            options[fields["defname"]] = "true" if fields["defname"] == "header" else ""
        elif fields["defname"] not in ("force_quote", "force_not_null", "force_null"):
            raise ClientFault(f"COPY option {fields['defname']} has a value of an unexpected kind")
    return options
