"""`taskgate export`: a bundle to hand over, from a gateway's data folder or through its API."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from taskgate.cli.output import AsJson, remark
from taskgate.cli.remote import ApiKey, CaFile, Url, connect
from taskgate.cli.session_filters import (
    Attempt,
    DagId,
    MapIndex,
    NamePart,
    Person,
    Principal,
    RunId,
    Source,
    Target,
    TaskId,
    When,
    utc,
)
from taskgate.errors import ClientFault, TaskgateError

if TYPE_CHECKING:
    from taskgate.client import SessionFilter

app = typer.Typer(add_completion=False)

_DATA_DIR = Path("taskgate-data")


@app.command()
def export_command(
    sessions: Annotated[list[str] | None, typer.Argument(help="Session ids.")] = None,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The bundle: a folder, or a zip file ending in .zip.")],
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="The gateway's data folder. Without it the gateway is asked, where one is named; else taskgate-data."
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every session in the data folder.")] = False,
    name: NamePart = None,
    person: Person = None,
    source: Source = None,
    dag_id: DagId = None,
    run_id: RunId = None,
    task_id: TaskId = None,
    map_index: MapIndex = None,
    attempt: Attempt = None,
    target: Target = None,
    principal: Principal = None,
    since: When = None,
    until: When = None,
    headers_only: Annotated[bool, typer.Option(help="No contents: proof without what was done.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    ca_file: CaFile = None,
) -> None:
    """Write sessions, checkpoints and policies into a bundle that can be read and verified offline.

    Sessions are named, or found by filters that must all hold. With --url or TASKGATE_URL the gateway makes the bundle
    (a key with records:read, at most 1000 sessions); with --data-dir it is made here."""
    from taskgate.client import SessionFilter

    chosen = SessionFilter(
        name=name,
        person=person,
        source=source,
        dag_id=dag_id,
        run_id=run_id,
        task_id=task_id,
        map_index=map_index,
        attempt=attempt,
        target=target,
        principal=principal,
        since=utc(since),
        until=utc(until),
    )
    if [bool(sessions), every, chosen != SessionFilter()].count(True) != 1:
        raise typer.BadParameter("name sessions, or give filters, or say --all")
    if data_dir is not None and url is not None:
        raise typer.BadParameter("either --url or --data-dir")
    if data_dir is None and (url is not None or os.environ.get("TASKGATE_URL")):
        if every:
            raise typer.BadParameter("a gateway does not export everything: give filters, or --data-dir")
        if output.suffix != ".zip":
            raise typer.BadParameter("a gateway answers a zip file: --output must end in .zip")
        if output.exists():
            raise ClientFault(f"taskgate: {output} exists already; a bundle never replaces anything")
        with connect(url, api_key, ca_file) as gateway:
            gateway.export(output, sessions=sessions or (), chosen=chosen, headers_only=headers_only)
        with zipfile.ZipFile(output) as bundle:
            manifest = json.loads(bundle.read("manifest.json"))
    else:
        manifest = _from_data(data_dir or _DATA_DIR, output, sessions or (), chosen, headers_only, as_json)
    _say(output, manifest, as_json)


def _from_data(
    data_dir: Path, output: Path, sessions: Sequence[str], chosen: SessionFilter, headers_only: bool, as_json: bool
) -> dict[str, Any]:
    """Without sessions and filter: everything. Returns the manifest."""
    # Here, since only this needs the gateway's packages.
    from taskgate.cli.recordings import fail
    from taskgate.client import SessionFilter
    from taskgate.recording.choosing import RecordedFilter, choose
    from taskgate.recording.export import export
    from taskgate.recording.recordings import Recordings

    try:
        if chosen != SessionFilter():
            found = choose(
                Recordings(data_dir),
                RecordedFilter(**{name: getattr(chosen, name) for name in RecordedFilter.__slots__}),
            )
            if found.unknown:
                remark(
                    f"{found.unknown} recordings are erased and say no more whose they are; name them to export them."
                )
            if not found.sessions:
                raise ClientFault("taskgate: no session matches")
            sessions = found.sessions
        manifest = export(data_dir, output, sessions or None, contents=not headers_only)
    except (TaskgateError, OSError) as error:
        fail(error, as_json=as_json)
    return asdict(manifest)


def _say(output: Path, manifest: dict[str, Any], as_json: bool) -> None:
    sessions, checkpoints = manifest["sessions"], manifest["checkpoints"]
    records = sum(one["records"] for one in sessions)
    if as_json:
        facts = {"bundle": str(output), "sessions": len(sessions), "records": records}
        typer.echo(json.dumps(facts | {"checkpoints": checkpoints, "contents": manifest["contents"]}))
    else:
        typer.echo(f"{output}: {len(sessions)} sessions, {records} records, {checkpoints} checkpoints")
