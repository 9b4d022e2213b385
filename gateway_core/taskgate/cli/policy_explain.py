"""`taskgate policy explain`: of policy files, or of what is in force in a running gateway. One output for both."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from taskgate.cli.local import load_settings
from taskgate.cli.output import AsJson, print_json, remark
from taskgate.cli.remote import ApiKey, CaFile, Url, connect
from taskgate.domain import Assurance, PrincipalKind

_WHO, _FILES, _GATEWAY = "Whose statement", "Of policy files", "Of a running gateway"
_PEOPLE_OF_API_KEYS = "taskgate"


def explain(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Policy files, or folders of them. Without any (and without --config) the running gateway is asked.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[str | None, typer.Option(help="The target's name. Needed, but with --session.")] = None,
    sql: Annotated[str | None, typer.Option(help="The statement; - reads it from the input. It is not run.")] = None,
    parameter: Annotated[list[str] | None, typer.Option(help="A bound parameter, in order.")] = None,
    time: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"], help="When, UTC. Else: now.")
    ] = None,
    client_address: Annotated[
        str | None,
        typer.Option(help="The client's IP address. Else: 127.0.0.1; of a gateway the session's, or yours."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Show rules about other targets too.")] = False,
    as_json: AsJson = False,
    task: Annotated[str | None, typer.Option(help="A task, as dag_id.task_id.", rich_help_panel=_WHO)] = None,
    principal: Annotated[
        str | None, typer.Option(help="Anybody else, as user:NAME or service:NAME.", rich_help_panel=_WHO)
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            help="Which Airflow, Prefect or identity provider it is from. Of anybody but a task else: taskgate.",
            rich_help_panel=_WHO,
        ),
    ] = None,
    assurance: Annotated[
        Assurance, typer.Option(help="How well it is known.", rich_help_panel=_WHO)
    ] = Assurance.VERIFIED,
    attribute: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE, such as bundle=etl; repeatable. a,b is a list.", rich_help_panel=_WHO),
    ] = None,
    group: Annotated[list[str] | None, typer.Option(help="A group it is in; repeatable.", rich_help_panel=_WHO)] = None,
    session: Annotated[
        str | None,
        typer.Option(
            help="Of a gateway, instead of all that: who had this session (`ses_…`, in a refusal's DETAIL), and its "
            "target.",
            rich_help_panel=_GATEWAY,
        ),
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
    ca_file: CaFile = None,
    pair: Annotated[
        list[str] | None,
        typer.Option(
            help="Instead of --sql: an effect and its object, `sql.select public.orders`.", rich_help_panel=_FILES
        ),
    ] = None,
    catalog: Annotated[
        Path | None,
        typer.Option(
            help="What the target holds: a table test's `catalog:`, or the whole file.",
            dir_okay=False,
            rich_help_panel=_FILES,
        ),
    ] = None,
    table: Annotated[
        list[str] | None,
        typer.Option(help="A table it holds: public.orders:id,total; repeatable.", rich_help_panel=_FILES),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            envvar="TASKGATE_CONFIG",
            help="The policy files that this settings file of a gateway names.",
            dir_okay=False,
            rich_help_panel=_FILES,
        ),
    ] = None,
) -> None:
    """Say what policy decides about one statement of one principal, and what became of every rule.

    Exit code 0: explained, whatever the verdict. 2: wrong arguments, or files that do not load. 3: no API key, or one
    without policy:explain. 4: no such session. 6: the gateway or the target's catalogue is out of reach."""
    from taskgate.cli.explained import as_data, show
    from taskgate.cli.policy_question import Question

    remote = bool(url or api_key or session) or not (paths or config)
    if remote and paths:
        raise typer.BadParameter("policy files, or a gateway (--url, --api-key, --session): one of the two")
    if remote and (pair or catalog or table):
        raise typer.BadParameter("--pair, --catalog and --table go with policy files: name them, or --config")
    if (session is None) == (target is None):
        raise typer.BadParameter("say where: --target" + (" or --session, one of the two" if remote else ""))
    if session is not None and (task or principal or source or attribute or group):
        raise typer.BadParameter("--session says who: leave the other options about that out")
    who = _who(task, principal, source, assurance, attribute or [], group or []) if session is None else {}
    if (sql is None) == (not pair):
        raise typer.BadParameter("say what: --sql" if remote else "say what: --sql or --pair, one of the two")
    question = Question(
        target=target,
        session=session,
        who=who,
        sql=_statement() if sql == "-" else sql,
        pairs=tuple(pair or ()),
        catalog=catalog,
        tables=tuple(table or ()),
        parameters=tuple(parameter or ()),
        time=time,
        client_address=client_address,
    )
    if remote:
        request = question.request()
        with connect(url, api_key, ca_file) as gateway:
            answer = gateway.explain(request)
    else:
        answer = question.ask(paths or load_settings(config or Path()).policy)
    if as_json:
        print_json(as_data(answer))
    else:
        show(answer, every=every)


def _statement() -> str:
    if sys.stdin.isatty():
        remark("The statement, and then Ctrl-D:")
    return sys.stdin.read().rstrip("\n")


def _who(
    task: str | None,
    principal: str | None,
    source: str | None,
    assurance: Assurance,
    attribute: list[str],
    group: list[str],
) -> dict[str, Any]:
    """The principal's description, as table tests and the API have it. Raises BadParameter."""
    if (task is None) == (principal is None):
        raise typer.BadParameter("say who: --task or --principal, one of the two")
    attributes: dict[str, Any] = {}
    for entry in attribute:
        name, equals, value = entry.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"--attribute is NAME=VALUE, not {entry!r}")
        attributes[name] = value.split(",") if "," in value or name == "tags" else value
    if group:
        attributes["groups"] = group
    if task is not None:
        dag_id, dot, task_id = task.rpartition(".")
        if not dot or not dag_id or not task_id:
            raise typer.BadParameter(f"--task is dag_id.task_id, not {task!r}")
        kind, name, ids = PrincipalKind.TASK, task, {"dag_id": dag_id, "task_id": task_id}
    else:
        word, colon, name = (principal or "").partition(":")
        if not colon or not name or word not in (PrincipalKind.USER, PrincipalKind.SERVICE):
            raise typer.BadParameter(f"--principal is user:NAME or service:NAME, not {principal!r}")
        kind, ids = PrincipalKind(word), {}
    return {
        "kind": kind,
        "name": name,
        "source": source if source is not None else "" if task is not None else _PEOPLE_OF_API_KEYS,
        "assurance": assurance,
        "attributes": attributes,
        **ids,
    }
