"""What commands print: data on stdout (tables for people, JSON with `--json`), remarks on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from taskgate.cli.visible import escaped

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console, RenderableType

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text for people.")]
Limit = Annotated[int, typer.Option(min=1, max=10000, help="How many at most.")]


def console() -> Console:
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, soft_wrap=not sys.stdout.isatty())


def remark(text: str) -> None:
    """Something for the person, not for the pipe."""
    sys.stderr.write(escaped(text, keep_lines=True) + "\n")


def as_data(value: Any) -> Any:
    """A model, or models, as plain JSON data."""
    from pydantic import BaseModel

    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, list | tuple):
        return [as_data(item) for item in value]
    return value


def print_json(value: BaseModel | Sequence[BaseModel] | Any) -> None:
    # ASCII only: what others chose cannot play with the terminal here either.
    sys.stdout.write(json.dumps(as_data(value), indent=2, ensure_ascii=True, default=_plain) + "\n")


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is no JSON")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """A table for people; in a pipe one line a row, its cells separated by tabs, no header."""
    cells = [[_cell(value) for value in row] for row in rows]
    if not sys.stdout.isatty():
        sys.stdout.write("".join("\t".join(row) + "\n" for row in cells))
        return
    if not cells:
        remark(empty)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    console().print(table)


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Names and values under each other. A renderable value is printed as it is, anything else as one escaped line."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields:
        if value is None or value == "":
            continue
        shown: RenderableType = value if isinstance(value, Text) else Text(_cell(value))
        table.add_row(name, shown)
    console().print(table)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, list | tuple):
        return ", ".join(_cell(item) for item in value)
    return escaped(value)
