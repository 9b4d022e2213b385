"""The root command. Its table says which file holds which command, so that `--help` imports none of them."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from taskgate.cli.exit_codes import ExitCode
from taskgate.cli.failures import exit_code, missing_extra, report
from taskgate.cli.output import remark
from taskgate.errors import TaskgateError


@dataclass(frozen=True, slots=True)
class Entry:
    """A command: the module and the Typer app in it, and the line that help shows."""

    module: str
    attribute: str
    help: str
    panel: str


_ASK, _READ, _RUN = "Ask and decide", "Read and prove", "Run the gateway"

ENTRIES: dict[str, Entry] = {
    "credential": Entry("taskgate.cli.credential", "app", "Issue, list and revoke short-lived credentials.", _ASK),
    "approvals": Entry("taskgate.cli.approvals", "app", "See what waits for a human, and decide.", _ASK),
    "sessions": Entry("taskgate.cli.sessions", "app", "Find, read, replay and end sessions.", _READ),
    "verify": Entry("taskgate.cli.recordings", "verify_app", "Check recordings against their chain.", _READ),
    "export": Entry("taskgate.cli.export", "app", "Write a bundle of recordings to hand over.", _READ),
    "policy": Entry("taskgate.cli.policy", "policy_app", "Check, test and explain policy files.", _RUN),
    "serve": Entry("taskgate.cli.serve", "app", "Run the gateway.", _RUN),
    "target": Entry("taskgate.cli.target", "app", "List targets, and test that they can be reached.", _RUN),
    "api-key": Entry("taskgate.cli.api_key", "app", "Create, list and revoke API keys.", _RUN),
    "db": Entry("taskgate.cli.db", "app", "Check and migrate the store.", _RUN),
    "doctor": Entry("taskgate.cli.doctor", "app", "Check everything the gateway needs.", _RUN),
    "demo": Entry("taskgate.cli.demo", "app", "Watch an Airflow task go through a gateway.", _RUN),
    "version": Entry("taskgate.cli.version", "app", "Say which version this is.", _RUN),
}


class RootGroup(TyperGroup):
    """Commands by `ENTRIES`, imported when one runs; every error of ours becomes one block and an exit code."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, entry in ENTRIES.items():
            self.commands[name] = TyperCommand(name, help=entry.help, rich_help_panel=entry.panel)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The real command in place of the one that only stands in help."""
        name, command, rest = super().resolve_command(ctx, args)
        if name in ENTRIES:
            command = get_command(_app(ENTRIES[name]))
            command.name = name
        return name, command, rest

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except TaskgateError as error:
            report(error)
            raise typer.Exit(exit_code(error)) from None
        except ModuleNotFoundError as error:
            if (extra := missing_extra(error)) is None:
                raise
            remark(f"error: this command needs {error.name}\nhint: pip install '.[{extra}]' in a clone")
            raise typer.Exit(ExitCode.USAGE) from None
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from None


def _app(entry: Entry) -> typer.Typer:
    found: typer.Typer = getattr(importlib.import_module(entry.module), entry.attribute)
    return found


app = typer.Typer(
    name="taskgate",
    cls=RootGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _say_version(asked: bool) -> None:
    if asked:
        from taskgate.cli import version

        typer.echo(version.line())
        raise typer.Exit


@app.callback()
def taskgate(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """A gateway on the data path between orchestrated tasks and what they touch."""
