"""`taskgate target`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from taskgate.cli.exit_codes import ExitCode
from taskgate.cli.local import DEFAULT_CONFIG, Config, load_settings, run
from taskgate.cli.output import AsJson, print_json, print_table
from taskgate.cli.remote import ApiKey, CaFile, Url, connect

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.command("list")
def list_targets(as_json: AsJson = False, url: Url = None, api_key: ApiKey = None, ca_file: CaFile = None) -> None:
    """List the targets of a running gateway, and where clients reach them."""
    with connect(url, api_key, ca_file) as gateway:
        found = list(gateway.targets())
    if as_json:
        print_json(found)
        return
    print_table(
        ("name", "protocol", "database", "target", "clients connect to"),
        [
            (
                item.name,
                item.protocol,
                item.database,
                f"{item.host}:{item.port}",
                f"{item.gateway.host}:{item.gateway.port}" if item.gateway else None,
            )
            for item in found
        ],
        empty="There are none.",
    )


@app.command("test")
def try_targets(
    name: Annotated[list[str] | None, typer.Argument(help="Which; without any, all of the settings file.")] = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Log in to targets as the gateway would, on its machine: address, certificate, password, catalogue. Code 6 where
    one cannot be used."""
    from taskgate.cli.probing import Probe, probe

    settings = load_settings(config)
    known = {target.name: target.target() for target in settings.targets}
    if unknown := sorted(set(name or ()) - set(known)):
        raise typer.BadParameter(f"no such target: {', '.join(unknown)}; there are {', '.join(sorted(known))}")

    async def work() -> list[tuple[Probe, float]]:
        found = []
        for target in (known[each] for each in name or known):
            started = time.perf_counter()
            found.append((await probe(target), time.perf_counter() - started))
        return found

    found = run(work)
    if as_json:
        print_json([{**result.as_data(), "milliseconds": round(took * 1000, 1)} for result, took in found])
    else:
        print_table(
            ("target", "usable", "server", "tls", "logged in as", "ms", "problem"),
            [
                (
                    result.target,
                    "yes" if result.ok else "NO",
                    result.server,
                    result.tls,
                    result.user,
                    round(took * 1000),
                    result.problem,
                )
                for result, took in found
            ],
            empty="The settings name no target.",
        )
    if not all(result.ok for result, _ in found):
        raise typer.Exit(ExitCode.UNAVAILABLE)
