"""`taskgate approvals`: what waits for a human. Each person decides with their own key."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from taskgate.cli.durations import seconds
from taskgate.cli.exit_codes import ExitCode
from taskgate.cli.output import AsJson, Limit, console, print_fields, print_json, print_table, remark
from taskgate.cli.remote import ApiKey, CaFile, Url, connect
from taskgate.cli.visible import escaped, exact
from taskgate.visible import warnings

if TYPE_CHECKING:
    from taskgate.client import Client
    from taskgate.client.models import Approval, ApprovalParameters

app = typer.Typer(no_args_is_help=True, add_completion=False)

ApprovalId = Annotated[str, typer.Argument(help="`apr_…`")]
Comment = Annotated[str | None, typer.Option("--comment", "-m", help="Recorded, and shown to the task.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask again.")]


@app.command("list")
def list_approvals(
    state: Annotated[
        list[str] | None,
        typer.Option(help="pending, approved, denied, expired or withdrawn; repeat. Without it: pending."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Whatever their state.")] = False,
    mine: Annotated[bool, typer.Option("--mine", help="Only those you may decide.")] = False,
    target: Annotated[str | None, typer.Option(help="Only on this target.")] = None,
    dag_id: Annotated[str | None, typer.Option(help="Only of this DAG or flow.")] = None,
    run_id: Annotated[str | None, typer.Option(help="Only of this DAG run or flow run.")] = None,
    task_id: Annotated[str | None, typer.Option(help="Only of this task.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    ca_file: CaFile = None,
) -> None:
    """List requests, newest first."""
    states = [] if every else state or ["pending"]
    with connect(url, api_key, ca_file) as gateway:
        pages = gateway.approvals(
            state=states, target=target, dag_id=dag_id, run_id=run_id, task_id=task_id, mine=mine or None
        )
        found = list(islice(pages, limit))
    if as_json:
        print_json(found)
        return
    print_table(
        ("id", "state", "asked", "expires", "waits until", "who", "run", "target", "what"),
        [
            (
                item.id,
                _state(item),
                item.requested_at,
                item.expires_at,
                item.waits_until,
                item.principal.label,
                _run(item),
                item.target,
                _short(item.text),
            )
            for item in found
        ],
        empty="Nothing waits for a human.",
    )


def _run(approval: Approval) -> str | None:
    attempt = approval.principal.attempt
    return (attempt.run_name or attempt.task.run_id) if attempt else None


def _state(approval: Approval) -> str:
    if approval.outdated_because:
        return f"{approval.state}, outdated"
    return f"{approval.state}, nobody may decide" if approval.nobody_may_because else str(approval.state)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:59] + "…"


@app.command()
def show(
    approval_id: ApprovalId,
    wait: Annotated[
        float | None,
        typer.Option(
            parser=seconds, metavar="DURATION", help="Wait so long for a decision; code 7 unless it is approved."
        ),
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    ca_file: CaFile = None,
) -> None:
    """Show one request: the exact text with everything invisible spelled out, its parameters (to those who may decide,
    after the decision also to keys with records:read; that they were looked at is recorded), what it is expected to
    touch, and the rules that ask."""
    with connect(url, api_key, ca_file) as gateway:
        approval = gateway.approval(approval_id) if wait is None else gateway.wait_for_approval(approval_id, wait)
        parameters = _parameters(gateway, approval)
    if as_json:
        print_json({"approval": approval.model_dump(mode="json"), "parameters": parameters and parameters.model_dump(mode="json")["parameters"]})  # fmt: skip # noqa: E501
    else:
        print_approval(approval, parameters)
    if wait is not None and approval.state != "approved":
        raise typer.Exit(ExitCode.NOT_APPROVED)


def _parameters(gateway: Client, approval: Approval) -> ApprovalParameters | None:
    """None where this key may not see them. While it is pending only asked for where the key may decide."""
    from taskgate.client import Conflict, NotFound, NotPermitted

    if approval.state == "pending" and not approval.may_decide:
        return None
    try:
        return gateway.approval_parameters(approval.id)
    except (NotPermitted, NotFound, Conflict):
        return None


def print_approval(approval: Approval, parameters: ApprovalParameters | None) -> None:
    principal, terms = approval.principal, approval.terms
    print_fields(
        [
            ("approval", approval.id),
            ("state", approval.state),
            ("waits until", _waiting(approval)),
            ("who", f"{principal.kind} {principal.label} of {principal.source}"),
            ("assurance", f"{principal.assurance} by {principal.verified_by}"),
            (
                "run",
                f"{principal.attempt.run_label}, try {principal.attempt.try_number}" if principal.attempt else None,
            ),
            ("triggered by", principal.attributes.get("triggering_user")),
            ("target", approval.target),
            ("does", approval.pairs),
            ("rules", approval.rules),
            ("who may decide", terms.approvers),
            ("also in", terms.channels or None),
            ("but nobody", approval.nobody_may_because),
            ("outdated", approval.outdated_because),
            ("bound", f"at most {terms.max_rows} rows, else rolled back" if terms.max_rows is not None else None),
            ("uses", terms.uses if terms.uses != 1 else None),
            ("search path", approval.environment.search_path),
            ("settings", [f"{name}={value}" for name, value in approval.environment.settings] or None),
            ("asked", approval.requested_at),
            ("expires", approval.expires_at),
            ("decided", f"{approval.state} by {approval.decided_by}" if approval.decided_by else None),
            ("comment", approval.comment),
            ("session", approval.session_id),
        ]
    )
    out = console()
    for warning in warnings(approval.text):
        out.print(f"\n! {warning}", style="bold red", markup=False)
    out.print("\nExact text:", style="bold")
    out.print(exact(approval.text))
    _print_parameters(approval, parameters)
    if approval.estimate is not None:
        out.print("\nThe planner expects:", style="bold")
        print_fields((name, value) for name, value in approval.estimate.items())
    if approval.state == "pending" and approval.may_not_because:
        remark(f"\nYou may not decide this: {approval.may_not_because}")


def _waiting(approval: Approval) -> str | None:
    if approval.state != "pending" or not approval.held:
        return None
    if approval.waits_until is None:
        return "a connection waits"
    left = (approval.waits_until - datetime.now(UTC)).total_seconds()
    return f"{approval.waits_until.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}: a connection waits {max(0, left):.0f} s more"


def _print_parameters(approval: Approval, parameters: ApprovalParameters | None) -> None:
    if parameters is None:
        if approval.may_decide or approval.state != "pending":
            remark("\nIts parameters are shown to its approvers and, once it is decided, to keys with records:read.")
        return
    if not parameters.parameters:
        return
    out = console()
    out.print("\nParameters:", style="bold")
    for item in parameters.parameters:
        if item.encoding == "null":
            shown = "NULL"
        elif item.shown is not None:
            shown = f"{item.shown} (sent as bytes {item.value})"
        else:
            shown = f"{item.value or ''}{' (hex)' if item.encoding == 'hex' else ''}"
        kind = item.type_name or item.type_oid or "untyped"
        out.print(f"  ${item.index} {escaped(kind)} = ", exact(shown), end="\n", sep="")


def _on_terminal() -> bool:
    return sys.stdin.isatty()


@app.command()
def approve(
    approval_id: ApprovalId,
    comment: Comment = None,
    yes: Yes = False,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    ca_file: CaFile = None,
) -> None:
    """Let exactly this run. On a terminal it is shown first, and you are asked once more."""
    with connect(url, api_key, ca_file) as gateway:
        if not yes:
            approval = gateway.approval(approval_id)
            if not _on_terminal():
                remark("error: not on a terminal: say --yes to approve without seeing it here")
                raise typer.Exit(ExitCode.USAGE)
            print_approval(approval, _parameters(gateway, approval))
            typer.confirm("\nApprove exactly this?", abort=True)
        _decided(gateway.approve(approval_id, comment), as_json)


@app.command()
def deny(
    approval_id: ApprovalId,
    comment: Comment = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Nothing is asked anyway.", hidden=True)] = False,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    ca_file: CaFile = None,
) -> None:
    """Refuse it. The task gets the comment in its error."""
    with connect(url, api_key, ca_file) as gateway:
        _decided(gateway.deny(approval_id, comment), as_json)


def _decided(approval: Approval, as_json: bool) -> None:
    if as_json:
        print_json(approval)
    else:
        typer.echo(f"{approval.id} {approval.state}")
