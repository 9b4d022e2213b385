"""`taskgate credential`: short-lived credentials, from a running gateway."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from taskgate.cli.durations import seconds
from taskgate.cli.output import AsJson, Limit, print_fields, print_json, print_table, remark
from taskgate.cli.remote import ApiKey, CaFile, Url, connect

app = typer.Typer(no_args_is_help=True, add_completion=False)

_TASK = "Task (service keys)"


@app.command()
def issue(
    target: Annotated[str, typer.Argument(help="The target's name; `taskgate target list` shows them.")],
    ttl: Annotated[
        float | None,
        typer.Option(
            parser=seconds, metavar="DURATION", help="How long it lives (`15m`); without it as the gateway is set."
        ),
    ] = None,
    dsn: Annotated[
        bool, typer.Option("--dsn", help='Print the DSN only: psql "$(taskgate credential issue orders-db --dsn)".')
    ] = False,
    source: Annotated[str | None, typer.Option(help="Which orchestrator.", rich_help_panel=_TASK)] = None,
    dag_id: Annotated[str | None, typer.Option(rich_help_panel=_TASK)] = None,
    run_id: Annotated[str | None, typer.Option(rich_help_panel=_TASK)] = None,
    task_id: Annotated[str | None, typer.Option(rich_help_panel=_TASK)] = None,
    attempt_id: Annotated[
        str | None, typer.Option(help="The orchestrator's id of this try.", rich_help_panel=_TASK)
    ] = None,
    map_index: Annotated[int, typer.Option(rich_help_panel=_TASK)] = -1,
    try_number: Annotated[int, typer.Option(rich_help_panel=_TASK)] = 1,
    attribute: Annotated[list[str] | None, typer.Option(help="`name=value`; repeat.", rich_help_panel=_TASK)] = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    ca_file: CaFile = None,
) -> None:
    """Issue a credential: for yourself, or with a service key for the task attempt you name. Shown this once."""
    from taskgate.client.models import TaskClaim

    stated = {"source": source, "dag_id": dag_id, "run_id": run_id, "task_id": task_id, "attempt_id": attempt_id}
    missing = [f"--{name.replace('_', '-')}" for name, value in stated.items() if value is None]
    principal = None
    if len(missing) < len(stated) or attribute:
        if missing:
            raise typer.BadParameter(f"a task also needs {', '.join(missing)}")
        attributes = _attributes(attribute or [])
        principal = TaskClaim.model_validate(
            {**stated, "map_index": map_index, "try_number": try_number, "attributes": attributes}
        )
    with connect(url, api_key, ca_file) as gateway:
        issued = gateway.issue_credential(target, ttl=ttl, principal=principal)
    if as_json:
        print_json(issued)
    elif dsn:
        typer.echo(issued.dsn.get_secret_value())
    else:
        print_fields(
            [
                ("user", issued.user),
                ("password", issued.password.get_secret_value()),
                ("dsn", issued.dsn.get_secret_value()),
                ("for", f"{issued.principal.name} ({issued.principal.assurance})"),
                ("expires", issued.expires_at),
            ]
        )
        remark("The password is shown only now.")


def _attributes(given: list[str]) -> dict[str, str | tuple[str, ...]]:
    attributes: dict[str, str | tuple[str, ...]] = {}
    for item in given:
        name, separator, value = item.partition("=")
        if not separator or not name:
            raise typer.BadParameter(f"not name=value: {item}")
        attributes[name] = tuple(value.split(",")) if name == "tags" else value
    return attributes


@app.command("list")
def list_credentials(
    target: Annotated[str | None, typer.Option(help="Of this target only.")] = None,
    attempt: Annotated[str | None, typer.Option(help="Of this task attempt only.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Those that have expired or been revoked as well.")] = False,
    limit: Limit = 50,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    ca_file: CaFile = None,
) -> None:
    """List credentials, newest first: your own, or with `credentials:read` everybody's. Never their secrets."""
    with connect(url, api_key, ca_file) as gateway:
        live = None if every else True
        found = list(islice(gateway.credentials(target=target, attempt=attempt, live=live), limit))
    if as_json:
        print_json(found)
        return
    print_table(
        ("id", "target", "for", "issued", "expires", "revoked"),
        [
            (item.id, item.target, item.principal.name, item.issued_at, item.expires_at, item.revoked_at)
            for item in found
        ],
        empty="There are none.",
    )


@app.command()
def revoke(
    credential_id: Annotated[str, typer.Argument(help="`tg_…`")],
    reason: Annotated[str, typer.Option(help="Why; recorded.")] = "",
    url: Url = None,
    api_key: ApiKey = None,
    ca_file: CaFile = None,
) -> None:
    """End a credential, and its live sessions within a second."""
    with connect(url, api_key, ca_file) as gateway:
        revoked = gateway.revoke_credential(credential_id, reason)
    typer.echo(f"{revoked.id} revoked")
