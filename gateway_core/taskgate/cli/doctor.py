"""`taskgate doctor`."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import TYPE_CHECKING

import typer

from taskgate.cli import checkup
from taskgate.cli.exit_codes import ExitCode
from taskgate.cli.local import DEFAULT_CONFIG, Config, load_settings, run
from taskgate.cli.output import AsJson, print_json, remark
from taskgate.cli.visible import escaped
from taskgate.errors import SettingsError

if TYPE_CHECKING:
    from taskgate.settings import Settings

app = typer.Typer(add_completion=False)

_COLOURS = {checkup.Level.OK: "green", checkup.Level.WARN: "yellow", checkup.Level.FAIL: "red"}


@app.callback(invoke_without_command=True)
def doctor(context: typer.Context, config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Check everything the gateway needs: settings, store, policy, targets, Prefects, certificates, file modes, disk,
    journal.

    Changes nothing but a small file it writes and removes to see how fast the disk is.

    Ends with code 1 where something would keep the gateway from its work."""
    if context.invoked_subcommand is not None:
        return
    try:
        settings = load_settings(config)
    except SettingsError as error:
        found = [
            checkup.Finding("settings", checkup.Level.FAIL, problem, "docs/operations.md lists every setting")
            for problem in error.message.splitlines()
        ]
    else:
        found = [checkup.Finding("settings", checkup.Level.OK, str(config)), *_all(settings)]
    if as_json:
        print_json([{"check": item.check, "level": item.level, "found": item.found, "do": item.do} for item in found])
    else:
        _print(found)
    if any(item.level is checkup.Level.FAIL for item in found):
        raise typer.Exit(ExitCode.FAILED)


@app.command()
def airflow(as_json: AsJson = False) -> None:
    """Check whether this machine's Airflow sends its tasks through a gateway, and through nothing else.

    Where only the light client is installed: `python -m taskgate_airflow.doctor`."""
    # The provider uses the light client only, so it cannot be asked to know this command: it runs as a program.
    if importlib.util.find_spec("airflow") is None or importlib.util.find_spec("taskgate_airflow") is None:
        remark("error: there is no Airflow here\nhint: run it where Airflow is: python -m taskgate_airflow.doctor")
        raise typer.Exit(ExitCode.USAGE)
    command = [sys.executable, "-m", "taskgate_airflow.doctor", *(["--json"] if as_json else [])]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, check=False)  # noqa: S603
    raise typer.Exit(ExitCode.FAILED if done.returncode else ExitCode.DONE)


def _all(settings: Settings) -> list[checkup.Finding]:
    async def remote() -> list[checkup.Finding]:
        return [
            await checkup.store(settings),
            *await checkup.targets(settings),
            *await checkup.prefects(settings),
        ]

    return [
        *checkup.environment(settings),
        *checkup.data_directory(settings),
        *checkup.private_files(settings),
        *checkup.certificates(settings),
        *checkup.descriptors(settings),
        *checkup.policy(settings),
        *run(remote),
        checkup.running(settings),
    ]


def _print(found: list[checkup.Finding]) -> None:
    width = max(len(item.check) for item in found)
    for item in found:
        level = typer.style(f"{item.level:<4}", fg=_COLOURS[item.level], bold=item.level is checkup.Level.FAIL)
        typer.echo(f"{level}  {item.check:<{width}}  {escaped(item.found)}")
        if item.do:
            typer.echo(f"{'':<4}  {'':<{width}}  → {escaped(item.do)}")
