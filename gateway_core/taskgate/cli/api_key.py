"""`taskgate api-key`: straight on the store, because the first key cannot be made with a key."""

from __future__ import annotations

import getpass
from itertools import islice
from typing import Annotated

import typer

from taskgate.cli.durations import seconds
from taskgate.cli.exit_codes import ExitCode
from taskgate.cli.local import DEFAULT_CONFIG, Config, load_settings, open_store, run
from taskgate.cli.output import AsJson, Limit, print_fields, print_json, print_table, remark
from taskgate.errors import ClientFault

app = typer.Typer(no_args_is_help=True, add_completion=False)


def _who() -> str:
    return f"cli:{getpass.getuser()}"


def _without_scope() -> ClientFault:
    from taskgate.identity.scopes import Scope

    return ClientFault(
        "a key without a scope may do nothing: say with --scope what it may do, once for each",
        hint=f"There are {', '.join(Scope)}. `taskgate api-key scopes` says whom for.",
    )


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose key: the person's or the service's name.")],
    config: Config = DEFAULT_CONFIG,
    user: Annotated[
        bool, typer.Option("--user/--service", help="A person's own key, or one that a service's parts share.")
    ] = False,
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help="What it may do; needed; repeat. `taskgate api-key scopes` lists them."),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option("--group", help="A group of the person (`dba`), for approvals and policy; repeat."),
    ] = None,
    alias: Annotated[
        list[str] | None,
        typer.Option(
            "--alias",
            help="Another name of the same person (an Airflow user name, an e-mail address), for four eyes; repeat.",
        ),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", help="Let a service key speak for tasks of this orchestrator only; repeat."),
    ] = None,
    work_pool: Annotated[
        list[str] | None,
        typer.Option("--work-pool", help="Let a service key speak for Prefect flow runs of this pool only; repeat."),
    ] = None,
    deployment: Annotated[
        list[str] | None,
        typer.Option("--deployment", help="The same for flow runs of this deployment, as flow/name; repeat."),
    ] = None,
    ttl: Annotated[
        float | None,
        typer.Option(parser=seconds, metavar="DURATION", help="When it expires (`90d`); without it, never."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, this once."""
    from taskgate.api import rendering
    from taskgate.api.claims import DEPLOYMENT_PREFIX, POOL_PREFIX, SOURCE_PREFIX
    from taskgate.client.models import CreatedApiKey
    from taskgate.domain import PrincipalKind
    from taskgate.identity.api_keys import ApiKeys
    from taskgate.store.signals import Signals

    if not scope:
        raise _without_scope()
    bounds = ((SOURCE_PREFIX, source), (POOL_PREFIX, work_pool), (DEPLOYMENT_PREFIX, deployment))
    if user and any(names for _, names in bounds):
        raise typer.BadParameter("--source, --work-pool and --deployment are for service keys")
    settings = load_settings(config)
    groups = [*(group or ()), *(f"{prefix}{one}" for prefix, names in bounds for one in names or ())]

    async def work() -> CreatedApiKey:
        async with open_store(settings, migrate=True) as database:
            key, secret = await ApiKeys(database, Signals(database)).create(
                PrincipalKind.USER if user else PrincipalKind.SERVICE,
                name,
                scope or (),
                groups,
                created_by=_who(),
                aliases=alias or (),
                ttl=ttl,
            )
            return CreatedApiKey.model_validate({"key": rendering.api_key(key), "secret": secret})

    created = run(work)
    if as_json:
        print_json(created)
        return
    typer.echo(created.secret.get_secret_value())
    remark(
        f"{created.key.kind} key {created.key.id} for {name}, shown only now: keep it in a file that nobody else reads."
    )


@app.command("list")
def list_keys(
    config: Config = DEFAULT_CONFIG,
    every: Annotated[bool, typer.Option("--all", help="Those that have expired or been revoked as well.")] = False,
    limit: Limit = 200,
    as_json: AsJson = False,
) -> None:
    """List keys, newest first. Never their secrets."""
    from taskgate.api import rendering
    from taskgate.client.models import ApiKey
    from taskgate.identity.api_keys import ApiKeys
    from taskgate.store.signals import Signals

    settings = load_settings(config)

    async def work() -> list[ApiKey]:
        async with open_store(settings) as database:
            keys, cursor = ApiKeys(database, Signals(database)), None
            found: list[ApiKey] = []
            while len(found) < limit:
                page = await keys.list(live=not every, cursor=cursor, limit=min(500, limit))
                found += [rendering.api_key(key) for key in page.items]
                if (cursor := page.next_cursor) is None:
                    break
            return list(islice(found, limit))

    found = run(work)
    if as_json:
        print_json(found)
        return
    print_table(
        ("id", "kind", "name", "scopes", "groups", "created", "last used", "expires", "revoked"),
        [
            (
                key.id,
                key.kind,
                key.name,
                key.scopes,
                key.groups,
                key.created_at,
                key.last_used_at,
                key.expires_at,
                key.revoked_at,
            )
            for key in found
        ],
        empty="There are no keys. `taskgate api-key create` makes one.",
    )


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="`tgk_…`")],
    config: Config = DEFAULT_CONFIG,
    reason: Annotated[str, typer.Option(help="Why; recorded.")] = "revoked by the operator",
) -> None:
    """End a key at once, in every gateway on the store."""
    from taskgate.identity.api_keys import ApiKeys
    from taskgate.store.signals import Signals

    settings = load_settings(config)

    async def work() -> bool | None:
        async with open_store(settings) as database:
            keys = ApiKeys(database, Signals(database))
            if await keys.get(key_id) is None:
                return None
            return await keys.revoke(key_id, _who(), reason)

    revoked = run(work)
    if revoked is None:
        remark(f"error: there is no API key {key_id}")
        raise typer.Exit(ExitCode.NOT_FOUND)
    typer.echo(f"{key_id} revoked" if revoked else f"{key_id} was revoked already")


@app.command()
def scopes(as_json: AsJson = False) -> None:
    """List what a key may be allowed to do."""
    from taskgate.identity.scopes import PEOPLE_ONLY, Scope

    if as_json:
        print_json([{"scope": str(scope), "people_only": scope in PEOPLE_ONLY} for scope in Scope])
        return
    print_fields((scope, "people only" if scope in PEOPLE_ONLY else "people and services") for scope in Scope)
