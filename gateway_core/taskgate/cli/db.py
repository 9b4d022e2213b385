"""`taskgate db`: the store's schema. `serve` migrates its own SQLite file, and never a shared store."""

from __future__ import annotations

import typer

from taskgate.cli.local import DEFAULT_CONFIG, Config, load_settings, open_store, run
from taskgate.cli.output import AsJson, print_json

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.command()
def check(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Say whether the store's schema is this version's. Ends with code 6 where it is not."""
    settings = load_settings(config)

    async def work() -> None:
        async with open_store(settings):
            pass

    run(work)
    if as_json:
        print_json({"current": True})
    else:
        typer.echo("The store's schema is up to date.")


@app.command()
def migrate(config: Config = DEFAULT_CONFIG) -> None:
    """Bring the store's schema to this version's. All or nothing; safe to run twice."""
    settings = load_settings(config)

    async def work() -> None:
        from taskgate.store.database import Database

        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        database = Database(settings.store_url)
        try:
            await database.migrate()
        finally:
            await database.close()

    run(work)
    typer.echo("The store's schema is up to date.")
