"""The demo as it is told: each step with what the task saw and what the server really ran."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from taskgate.cli.visible import escaped, exact
from taskgate.client import Approval, Client, SessionFilter
from taskgate.client.models import Principal
from taskgate.demo import server_log
from taskgate.demo.attempt_promises import attributes
from taskgate.demo.example import Waiting
from taskgate.demo.forms import Form
from taskgate.demo.orchestrator import Orchestrator
from taskgate.demo.promise import Promise
from taskgate.demo.promises import Seen, check, matching_orders
from taskgate.demo.stage import TARGET, Stage
from taskgate.domain import Assurance

_MOST_ROWS = 5


class Story:
    """`decides`: the demo decides itself, as dana through the API; otherwise it waits for somebody to."""

    def __init__(self, stage: Stage, orchestrator: Orchestrator, console: Console, *, decides: bool) -> None:
        self._stage = stage
        self._orchestrator = orchestrator
        self._example = orchestrator.form.example
        self._console = console
        self._decides = decides
        self._step = 0
        self._waiting: dict[str, Waiting] = {}

    def prepare(self) -> None:
        """Have the orchestrator ready for the example, and narrate. Raises RuntimeError."""
        self._orchestrator.prepare(self._orchestrator_says)

    def tell(self) -> bool:
        """Run the example and narrate. Whether every promise was kept."""
        orchestrator = self._orchestrator
        form = orchestrator.form
        rows_before = matching_orders(self._stage)
        self._say("Assurance", assurance(form))
        orchestrator.start(self._orchestrator_says)
        with self._stage.client("dana") as dana:
            for approval in self._pending(dana):
                self._ask(dana, approval)
        self._console.print()
        for task_id, task in sorted(orchestrator.tasks().items(), key=lambda item: self._order(item[0])):
            self._task(task_id, task.state, task.value)
        bundle = self._stage.directory / "trail.zip"
        if form.last_reads is not None:
            self._say("Gateway", form.last_reads.over)
            self._console.print(f"  {form.last_reads.wait}", highlight=False)
        promises = check(self._stage, orchestrator, Seen(self._waiting, rows_before), bundle)
        return self._verdict(promises, bundle)

    def _pending(self, dana: Client) -> Iterator[Approval]:
        """Every approval of the example once, while it is pending, until that has ended."""
        known: set[str] = set()
        while self._orchestrator.running:
            for approval in dana.approvals(state=["pending"], dag_id=self._example.id):
                if approval.id not in known:
                    known.add(approval.id)
                    yield approval
            time.sleep(0.2)

    def _ask(self, dana: Client, approval: Approval) -> None:
        task = approval.principal.name.rpartition(".")[2]
        held = any(session.parked for session in dana.live_sessions())
        self._waiting[task] = waiting = Waiting(held, *self._orchestrator.waiting(task))
        waits = waits_how(waiting)
        if waiting.state:
            waits += f" ({self._example.orchestrator}: {waiting.state})"
        self._say("Approval", f"[bold]{task}[/] wants to delete and {waits}. What the approver sees:")
        parameters = dana.approval_parameters(approval.id).parameters
        shown = Table.grid(padding=(0, 2))
        shown.add_row("statement", exact(approval.text))
        shown.add_row("parameters", Text(", ".join(escaped(str(one.shown or one.value)) for one in parameters)))
        shown.add_row("does", Text("; ".join(approval.pairs)))
        shown.add_row("estimate", Text(str((approval.estimate or {}).get("rows", "unknown")) + " rows"))
        shown.add_row("rule", Text(", ".join(approval.rules)))
        self._console.print(Panel(shown, title=approval.id, title_align="left", expand=False))
        started_by = str(approval.principal.attributes.get("triggering_user"))
        if started_by in self._stage.keys:  # told by Airflow, so only of a verified task
            with self._stage.client(started_by) as starter:
                because = starter.approval(approval.id).may_not_because
            may = f"may not decide: {because}" if because else "may decide"
            self._console.print(Text(f"  {started_by}, of group dba too, started the {self._example.kind} and {may}"))
        if self._decides:
            dana.approve(approval.id, "demo: seen and understood")
            self._say("Approval", "approved by [bold]dana[/] of group dba, through the API")
            return
        url, key = self._stage.gateway.url, self._stage.keys["dana"]
        self._console.print(
            f"  Decide in the dashboard: {self._stage.dashboard_url} (sign in with dana's key: {key})\n"
            f"  or in another terminal:\n"
            f"  TASKGATE_URL={url} TASKGATE_API_KEY={key} .venv/bin/taskgate approvals approve {approval.id}",
            highlight=False,
            soft_wrap=True,
        )
        decided = dana.wait_for_approval(approval.id)
        self._say("Approval", f"{decided.state} by {decided.decided_by or 'nobody'}")

    def _task(self, task_id: str, state: str, value: object) -> None:
        self._say("Task", f"[bold]{task_id}[/]: {state}")
        if isinstance(value, list) and value:
            rows = Table("id", "name", "email", "card", "ssn", "city", title="what the task saw", title_justify="left")
            for row in value[:_MOST_ROWS]:
                cells = row["__data__"] if isinstance(row, dict) else row  # as Airflow serialises a tuple
                rows.add_row(*(Text(str(cell)) for cell in cells))
            self._console.print(rows)
        with self._stage.client("rae") as rae:
            sessions = list(rae.sessions(SessionFilter(dag_id=self._example.id, task_id=task_id)))
            for known in sorted({known_as(session.principal, self._orchestrator.form) for session in sessions}):
                self._console.print(Text(f"  the gateway knew it: {known}"))
            for number, session in enumerate(reversed(sessions), 1):
                if len(sessions) > 1:
                    self._console.print(Text(f"  connection {number} of {len(sessions)}"))
                for record in rae.records(session.id):
                    if record.kind == "refused" and record.content:
                        reason = str(record.content["reason"])
                        said = "asked, and let go" if reason.endswith("is pending") else "refused"
                        self._console.print(Text(f"  {said}: {reason}"))
                self._server_ran(session.id)
        for line in self._orchestrator.task_log(task_id):
            self._console.print(Text(f"  in the task's log: {escaped(line)}"))

    def _server_ran(self, session_id: str) -> None:
        ran = [one.text for one in server_log.statements(self._stage.postgres.log_file, session_id)]
        opens = self._example.opens_with
        shown = ran if opens is None else [one for one in ran if "public." in one]
        for text in shown or ["nothing"]:
            self._console.print(Text(f"  the server ran: {escaped(text)}"))
        if opens is not None:
            self._console.print(Text(f"  and {len(ran) - len(shown)} statements by which {opens} open a connection"))

    def _verdict(self, promises: list[Promise], bundle: Path) -> bool:
        title = f"What was promised, and what was observed (tasks {self._orchestrator.form.assurance})"
        table = Table("", "promise", "observed", title=title, title_justify="left")
        for promise in promises:
            mark = Text("kept", "bold green") if promise.held else Text("BROKEN", "bold red")
            table.add_row(mark, Text(promise.text), Text(promise.observed))
        self._console.print()
        self._console.print(table)
        self._console.print(f"Assurance shown: {assurance(self._orchestrator.form)}", highlight=False)
        if not self._decides:  # who runs it unattended is left with nothing on disk
            self._console.print(
                f"The trail, while this runs: {bundle} (check it again: .venv/bin/taskgate verify {bundle})",
                highlight=False,
            )
        return all(promise.held for promise in promises)

    def _orchestrator_says(self, text: str) -> None:
        self._say(self._example.orchestrator, text)

    def _order(self, task_id: str) -> int:
        known = self._example.tasks
        return known.index(task_id) if task_id in known else len(known)

    def _say(self, who: str, text: str) -> None:
        self._step += 1
        self._console.print(f"[bold cyan]{self._step:>2}[/] [cyan]{who:<9}[/] {text}", highlight=False)


def waits_how(waiting: Waiting) -> str:
    """What a task does while a human is asked, as it was seen."""
    if waiting.holds_connection:
        return "holds its connection"
    if waiting.processes is None:
        return "has deferred: no worker, no connection is held"
    if waiting.processes == 0:
        return "has its run suspended: no process lives, no connection is held"
    return "waits in its process, which holds no connection"


def assurance(form: Form) -> str:
    """The form's assurance in a line, and where the other one is shown."""
    if form.assurance is Assurance.VERIFIED:
        return f"[bold]{form.assurance}[/]: {form.meaning}"
    return f"[bold]{form.assurance}[/]: {form.meaning} (--airflow-full shows [bold]verified[/])"


def known_as(principal: Principal, form: Form) -> str:
    """How a task is known, and by what; of a proven one also what the orchestrator was asked."""
    if principal.attempt is None or principal.assurance == Assurance.ASSERTED:
        return f"{principal.assurance} ({principal.verified_by})"
    return (
        f"{principal.assurance} ({principal.verified_by}): try {principal.attempt.try_number}, "
        f"{attributes(principal, form)}"
    )


def introduce(console: Console, stage: Stage) -> None:
    """What is running, before the example starts."""
    console.print(
        Panel.fit(
            f"{'PostgreSQL 18 with generated customers and orders':<52}127.0.0.1:{stage.postgres.port}\n"
            f"{f'the gateway, target {TARGET}':<52}127.0.0.1:{stage.gateway.postgres_port}\n"
            f"{'the control API':<52}{stage.gateway.url}\n"
            f"{'the dashboard':<52}{stage.dashboard_url}\n"
            f"{'tasks are':<52}{stage.form.assurance}",
            title="Taskgate demo",
            title_align="left",
        ),
        highlight=False,
    )
