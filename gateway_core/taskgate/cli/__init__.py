"""The `taskgate` command. `main` is the entry point; everything else is imported when a command needs it."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line. Says what to install where only the light client is."""
    try:
        from taskgate.cli.root import app
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("typer", "rich"):
            raise
        sys.stderr.write(
            f"taskgate: the command line needs {error.name}, which is not installed.\n"
            "Install it with: pip install 'taskgate[gateway]'\n"
        )
        sys.exit(2)
    app()
