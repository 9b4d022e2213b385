"""`taskgate serve`."""

from __future__ import annotations

import typer

from taskgate.cli.local import DEFAULT_CONFIG, Config, load_settings

app = typer.Typer(add_completion=False)


@app.command()
def serve(config: Config = DEFAULT_CONFIG) -> None:
    """Run the gateway until it is told to stop (SIGTERM, Ctrl-C)."""
    settings = load_settings(config)
    from taskgate.gateway import run

    run(settings)
