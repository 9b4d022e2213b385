"""Options that say which sessions: the same names wherever sessions are found."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

NamePart = Annotated[str | None, typer.Option("--name", help="Words, parts of the DAG's, run's or task's name.")]
Person = Annotated[str | None, typer.Option(help="Part of the name of who acts, or who triggered the run.")]
Source = Annotated[str | None, typer.Option(help="Which orchestrator.")]
DagId = Annotated[str | None, typer.Option()]
RunId = Annotated[str | None, typer.Option()]
TaskId = Annotated[str | None, typer.Option()]
MapIndex = Annotated[int | None, typer.Option()]
Attempt = Annotated[str | None, typer.Option(help="The orchestrator's id of a try.")]
Target = Annotated[str | None, typer.Option()]
Principal = Annotated[str | None, typer.Option(help="`kind:source:name`, such as user:taskgate:alice.")]
When = Annotated[
    datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"], help="UTC.")
]


def utc(when: datetime | None) -> datetime | None:
    return when.replace(tzinfo=UTC) if when else None
