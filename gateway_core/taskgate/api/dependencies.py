"""What routes ask for in their signatures."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi.dependencies.models import Dependant

from taskgate.api.authentication import Caller, Requires
from taskgate.api.control_plane import ControlPlane
from taskgate.api.problems import ApiProblem
from taskgate.client.models import FieldProblem
from taskgate.store.pages import MAX_LIMIT


def _control_plane(request: Request) -> ControlPlane:
    plane: ControlPlane = request.app.state.control_plane
    return plane


Plane = Annotated[ControlPlane, Depends(_control_plane)]
AnyCaller = Annotated[Caller, Depends(Requires(None))]
Cursor = Annotated[str | None, Query(max_length=200, description="`next_cursor` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Items on a page at most.")]


def _query_names(dependant: Dependant) -> set[str]:
    names = {field.alias for field in dependant.query_params}
    return names.union(*(_query_names(inner) for inner in dependant.dependencies))


def refuse_unknown_query(request: Request) -> None:
    """A misspelt filter must not widen a search or an export to everything. Every router depends on this."""
    known = _query_names(request.scope["route"].dependant)
    if unknown := sorted(set(request.query_params) - known):
        errors = tuple(FieldProblem(where=f"query.{name[:100]}", message="no such parameter here") for name in unknown)
        raise ApiProblem(422, "the request is not valid", errors=errors)
