"""`taskgate verify`, and how a session's timeline is drawn."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from taskgate.cli.visible import escaped
from taskgate.errors import TaskgateError
from taskgate.recording.findings import ExitCode, SessionFinding, Verification
from taskgate.recording.keys import PublicKey
from taskgate.recording.records import RecordKind
from taskgate.recording.replay import TimelineEvent
from taskgate.recording.verify import verify

verify_app = typer.Typer(add_completion=False)


@verify_app.command()
def verify_command(
    path: Annotated[Path, typer.Argument(help="A bundle (zip file or folder) or a gateway's data folder.")],
    public_key: Annotated[
        list[Path] | None,
        typer.Option(help="The gateway's public key (PEM), got from elsewhere than the bundle. Repeatable."),
    ] = None,
    outside: Annotated[
        Path | None, typer.Option(help="Checkpoints that were pushed to an outside sink, one JSON line each.")
    ] = None,
    session: Annotated[list[str] | None, typer.Option(help="A session that must be there; repeatable.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check recordings offline and name the first bad record.

    Exit code 0: verified. 1: bad. 2: cannot be read. 8: consistent, but only its own key says so."""
    console = Console(soft_wrap=True)
    try:
        keys = [_public_key(one) for one in public_key or []]
        result = verify(path, public_keys=keys, outside=outside, sessions=session or [])
    except (TaskgateError, OSError, ValueError) as error:
        fail(error, as_json=as_json)
    if as_json:
        typer.echo(json.dumps(verification_json(result), indent=2))
    else:
        _print_verification(console, result)
    raise typer.Exit(result.exit_code)


def _public_key(path: Path) -> PublicKey:
    try:
        return PublicKey.parse(path.read_bytes())
    except ValueError:
        raise ValueError(f"{path} is not an Ed25519 public key in PEM form") from None


def fail(error: Exception, *, as_json: bool) -> NoReturn:
    """Evidence that cannot be read or written."""
    if as_json:
        typer.echo(json.dumps({"ok": False, "error": escaped(str(error))}))
    else:
        typer.echo(f"error: {escaped(str(error))}", err=True)
    raise typer.Exit(ExitCode.UNREADABLE)


def verification_json(result: Verification) -> dict[str, object]:
    first = result.first
    return {
        "ok": result.ok,
        "trusted": result.trusted,
        "checkpoints": result.checkpoints,
        "absent_sessions": result.absent,
        "first_problem": asdict(first) if first else None,
        "problems": [asdict(problem) for problem in result.problems],
        "sessions": [asdict(one) | {"sealed": one.sealed, "intact": one.intact} for one in result.sessions],
        "notes": list(result.notes),
    }


def _state(one: SessionFinding) -> str:
    if one.problem:
        return one.problem.message
    state = "closed" if one.closed else "open"
    if one.listed:
        return f"{state}, intact: as the signed manifest lists it"
    if not one.whole:
        return f"{state}, its chain holds; what would say that it is whole is damaged"
    return f"{state}, signed by checkpoint {one.checkpoint}" if one.checkpoint else f"{state}, not signed"


def _print_verification(console: Console, result: Verification) -> None:
    for problem in result.problems:
        console.print(Text("BAD  ", "bold red") + Text(escaped(str(problem))))
    for one in result.sessions:
        if one.problem:
            mark = Text("BAD  ", "bold red")
        else:
            mark = Text("ok   ", "green") if one.whole else Text("?    ", "yellow")
        console.print(mark + Text(f"{escaped(one.session)}  {one.records} records  {escaped(_state(one))}"))
    for note in result.notes:
        console.print(Text("note ", "yellow") + Text(escaped(note)))
    total = sum(one.records for one in result.sessions)
    if first := result.first:
        intact = sum(one.intact for one in result.sessions)
        console.print(f"{intact} of {len(result.sessions)} sessions are intact.")
        what = "NOT VERIFIED: " if first.session is None else "NOT VERIFIED. First bad record: "
        console.print(Text(what, "bold red") + Text(escaped(str(first))))
    else:
        word = "Verified" if result.trusted else "Consistent"
        summary = f"{word}: {len(result.sessions)} sessions, {total} records, {result.checkpoints} checkpoints."
        console.print(Text(summary, "bold green" if result.trusted else "bold yellow"))


# --- replay ------------------------------------------------------------------------------------------------------

_VERDICT_STYLE = {"allow": "green", "deny": "bold red", "approve": "yellow"}


def render_replay(events: Iterable[TimelineEvent], console: Console) -> None:
    """Draw the timeline. Nothing of it is taken for terminal codes or markup."""
    for event in events:
        console.print(_render(event), soft_wrap=True)


def _render(event: TimelineEvent) -> Text:
    line = Text(f"{_clock(event.offset)}  ", "cyan")
    line.append(f"{event.seq:>5}  ", "dim")
    content = event.content
    if content is None:
        return line.append(f"{event.kind}  (content erased)", "dim")
    match event.kind:
        case RecordKind.ACTION | RecordKind.REFUSED:
            return _render_action(line, event)
        case RecordKind.SESSION_OPENED:
            who = f"{content.get('principal_kind')}:{content.get('principal_source')}:{content.get('principal_name')}"
            line.append("opened ", "bold").append(escaped(f"{who} ({content.get('assurance')})"))
            line.append(escaped(f" → {content.get('target')} from {content.get('client_address')}"))
            if content.get("task"):
                line.append(f"\n{_INDENT}").append(escaped(f"task {content['task']}, try {content.get('try_number')}"))
        case RecordKind.SESSION_CLOSED:
            line.append("closed ", "bold").append(escaped(str(content.get("reason"))))
            if content.get("lost_bytes"):
                line.append(f" ({content['lost_bytes']} bytes of an unfinished record were cut off)", "yellow")
        case RecordKind.PARKED:
            line.append("parked ", "bold yellow").append(escaped(f"waits for approval {event.approval_id}"))
            _append_action(line, event)
        case RecordKind.DECIDED | RecordKind.GRANTED:
            line.append(f"{event.kind} ", "bold").append(escaped(f"approval {event.approval_id}"))
            words = [content.get("state"), content.get("decided_by"), content.get("comment"), content.get("reason")]
            line.append(escaped("".join(f", {word}" for word in words if word)))
        case _:
            rest = {name: value for name, value in content.items() if name != "base64"}
            line.append(f"{event.kind} ").append(escaped(json.dumps(rest, ensure_ascii=False)))
    return line


_INDENT = " " * 19


def _render_action(line: Text, event: TimelineEvent) -> Text:
    verdict = "refused" if event.kind is RecordKind.REFUSED else (event.verdict or "")
    line.append(f"{escaped(verdict)} ", _VERDICT_STYLE.get(event.verdict or "", "bold"))
    line.append(escaped(", ".join(event.pairs)), "dim")
    _append_action(line, event)
    content = event.content or {}
    details = []
    if event.rules:
        details.append("rules " + ", ".join(event.rules))
    if event.approval_id:
        details.append(f"approval {event.approval_id}")
    if content.get("reason"):
        details.append(str(content["reason"]))
    if details:
        line.append(f"\n{_INDENT}{escaped(' · '.join(details))}", "dim")
    if event.kind is RecordKind.ACTION:
        _append_ending(line, event)
    return line


def _append_action(line: Text, event: TimelineEvent) -> None:
    if event.text is not None:
        text = escaped(event.text, keep_lines=True).replace("\n", f"\n{_INDENT}")
        line.append(f"\n{_INDENT}{text}", "bold")
    for number, value in enumerate(event.parameters or (), 1):
        line.append(f"\n{_INDENT}${number} = {escaped(value)}")


def _append_ending(line: Text, event: TimelineEvent) -> None:
    ending = event.ending
    if ending is None:
        line.append(f"\n{_INDENT}→ no result is recorded", "yellow")
        return
    line.append(f"\n{_INDENT}→ {escaped(ending.tag or 'done')}, {ending.rows} rows, {ending.bytes_to_client} bytes")
    line.append(f", {ending.duration * 1000:.1f} ms")
    if ending.masked:
        masked = ", ".join(f"{count} × {name}" for name, count in ending.masked.items())
        line.append(f", masked {escaped(masked)}", "magenta")
    if ending.error:
        line.append(f"\n{_INDENT}→ {escaped(ending.error)}", "red")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(0.0, seconds), 60)
    return f"{int(minutes):>3}:{rest:06.3f}"
