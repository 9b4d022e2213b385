"""`taskgate sessions`: who had which connection, what it did, what is open now."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from taskgate.cli.output import AsJson, Limit, console, print_fields, print_json, print_table
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

if TYPE_CHECKING:
    from taskgate.client.models import Record

app = typer.Typer(no_args_is_help=True, add_completion=False)

SessionId = Annotated[str, typer.Argument(help="`ses_…`")]


@app.command("list")
def list_sessions(
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
    effect: Annotated[str | None, typer.Option(help="Such as sql.delete.")] = None,
    object_: Annotated[str | None, typer.Option("--object", help="What an effect was on: public.orders.")] = None,
    state: Annotated[str | None, typer.Option(help="open or closed.")] = None,
    since: When = None,
    until: When = None,
    limit: Limit = 50,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    ca_file: CaFile = None,
) -> None:
    """Find sessions, newest first. Everything given must hold."""
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
        effect=effect,
        object=object_,
        state=state,
        since=utc(since),
        until=utc(until),
    )
    with connect(url, api_key, ca_file) as gateway:
        found = list(islice(gateway.sessions(chosen), limit))
    if as_json:
        print_json(found)
        return
    print_table(
        ("id", "state", "opened", "who", "target", "actions", "refused", "rows", "masked"),
        [
            (
                item.id,
                item.state,
                item.opened_at,
                item.principal.label,
                item.target,
                item.actions,
                item.refused,
                item.rows,
                item.masked,
            )
            for item in found
        ],
        empty="There are none.",
    )


@app.command()
def show(
    session_id: SessionId,
    limit: Annotated[int, typer.Option(min=0, max=100000, help="How many records at most; 0: none.")] = 1000,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    ca_file: CaFile = None,
) -> None:
    """Show one session: who, what it touched, and its records (with the scope records:read)."""
    from taskgate.client import NotPermitted

    with connect(url, api_key, ca_file) as gateway:
        session = gateway.session(session_id)
        try:
            records = list(islice(gateway.records(session_id), limit)) if limit else []
        except NotPermitted:
            records = []
    if as_json:
        print_json({"session": session.model_dump(mode="json"), "records": [item.model_dump(mode="json") for item in records]})  # fmt: skip # noqa: E501
        return
    attempt = session.principal.attempt
    print_fields(
        [
            ("session", session.id),
            ("state", f"{session.state}{f': {session.closed_reason}' if session.closed_reason else ''}"),
            ("who", f"{session.principal.kind} {session.principal.label} of {session.principal.source}"),
            ("assurance", f"{session.principal.assurance} by {session.principal.verified_by}"),
            ("run", attempt.run_label if attempt else None),
            ("try", attempt.try_number if attempt else None),
            ("target", session.target),
            ("from", session.client_address),
            ("opened", session.opened_at),
            ("closed", session.closed_at),
            ("actions", f"{session.actions} ({session.refused} refused)"),
            ("rows", f"{session.rows} ({session.masked} cells masked)"),
            ("did", session.effects),
            ("policy", session.policy_version),
        ]
    )
    if records:
        typer.echo("")
        print_table(("#", "at", "kind", "what"), [(r.sequence, r.at, r.kind, _what(r)) for r in records], empty="")


def _what(record: Record) -> str:
    """One line for a record; `sessions replay` tells the whole story."""
    content: dict[str, Any] = record.content or {}
    if record.content is None:
        return "(erased)"
    for name in ("text", "reason", "error", "state", "tag", "name"):
        if value := content.get(name):
            return f"{value}"
    return ", ".join(str(item) for item in content.get("pairs", ()))


@app.command()
def replay(
    session_id: SessionId,
    bundle: Annotated[
        Path | None, typer.Option(help="From an exported bundle, or a gateway's data folder, instead of a gateway.")
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    ca_file: CaFile = None,
) -> None:
    """Tell what a session did, in order and with its timing: every action, its verdict, its parameters, its result."""
    from taskgate.cli.replaying import of_bundle, of_gateway
    from taskgate.recording.replay import timeline

    with ExitStack() as stack:
        if bundle is not None:
            records = of_bundle(bundle, session_id, stack)
        else:
            records = of_gateway(stack.enter_context(connect(url, api_key, ca_file)), session_id)
        events = timeline(records)
        if as_json:
            print_json([asdict(event) for event in events])
            return
        from taskgate.cli.recordings import render_replay

        render_replay(events, console())


@app.command()
def kill(
    session_id: SessionId,
    reason: Annotated[str, typer.Option(help="Why; recorded, and told to the client.")] = "",
    url: Url = None,
    api_key: ApiKey = None,
    ca_file: CaFile = None,
) -> None:
    """End a session: both sides are closed within a second, whichever gateway process holds it."""
    with connect(url, api_key, ca_file) as gateway:
        gateway.kill_session(session_id, reason)
    typer.echo(f"{session_id} is being closed")
