"""Bound parameters as an approver reads them."""

from __future__ import annotations

from taskgate.client.models import ApprovalParameter
from taskgate.domain import Parameter
from taskgate.postgres_values import NAMES, reading


def readable(index: int, parameter: Parameter) -> ApprovalParameter:
    """`index` counts from 1, as `$1` does."""
    name = NAMES.get(parameter.type_oid)
    if parameter.value is None:
        return ApprovalParameter(index=index, type_oid=parameter.type_oid, type_name=name, encoding="null")
    if parameter.format == 0:
        try:
            text = parameter.value.decode()
        except UnicodeDecodeError:
            pass
        else:
            return ApprovalParameter(
                index=index, type_oid=parameter.type_oid, type_name=name, encoding="text", value=text
            )
    shown = reading(parameter.type_oid, parameter.value) if parameter.format == 1 else None
    return ApprovalParameter(
        index=index,
        type_oid=parameter.type_oid,
        type_name=name,
        encoding="hex",
        value=parameter.value.hex(),
        shown=shown,
    )
