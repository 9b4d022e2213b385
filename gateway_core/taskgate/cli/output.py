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
    from rich.console import Console

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text for people.")]
Limit = Annotated[int, typer.Option(min=1, max=10000, help="How many at most.")]


def console() -> Console:
    from rich.console import Console

    # Soft wrapping: a terminal breaks long lines for the eye, but no line break gets into what is copied or piped.
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True)


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
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number == 0)  # the first names the row, and is copied
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    console().print(table, soft_wrap=False)


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Names and values under each other, each value one escaped line however long; in a pipe a tab is between them."""
    from rich.text import Text

    shown = [(name, _cell(value)) for name, value in fields if value is not None and value != ""]
    if not sys.stdout.isatty():
        sys.stdout.write("".join(f"{name}\t{value}\n" for name, value in shown))
        return
    width = max((len(name) for name, _ in shown), default=0)
    out = console()
    for name, value in shown:
        out.print(Text.assemble((f"{name:<{width}}", "bold"), "  ", value))


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, list | tuple):
        return ", ".join(_cell(item) for item in value)
    return escaped(value)
