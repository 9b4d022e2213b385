"""`taskgate version`."""

from __future__ import annotations

import platform

import typer

from taskgate import __version__
from taskgate.cli.output import AsJson, print_json

app = typer.Typer(add_completion=False)


def line() -> str:
    return f"taskgate {__version__} (Python {platform.python_version()})"


@app.command()
def version(as_json: AsJson = False) -> None:
    """Say which version this is, and on which Python."""
    if as_json:
        print_json({"taskgate": __version__, "python": platform.python_version(), "platform": platform.platform()})
    else:
        typer.echo(line())
