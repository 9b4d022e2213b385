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
from taskgate.demo.airflow import Airflow
from taskgate.demo.forms import Form
from taskgate.demo.promise import Promise
from taskgate.demo.promises import Seen, check, matching_orders
from taskgate.demo.stage import DAG_ID, TARGET, Stage
from taskgate.domain import Assurance

_MOST_ROWS = 5


class Story:
    """`decides`: the demo decides itself, as dana through the API; otherwise it waits for somebody to."""

    def __init__(self, stage: Stage, airflow: Airflow, console: Console, *, decides: bool) -> None:
        self._stage = stage
        self._airflow = airflow
        self._console = console
        self._decides = decides
        self._step = 0
        self._held: dict[str, bool] = {}
        self._states: dict[str, str | None] = {}

    def prepare(self) -> None:
        """Have Airflow ready for the DAG, and narrate. Raises RuntimeError."""
        self._airflow.prepare(self._airflow_says)

    def tell(self) -> bool:
        """Run the DAG and narrate. Whether every promise was kept."""
        airflow = self._airflow
        rows_before = matching_orders(self._stage)
        self._say("Assurance", assurance(airflow.form))
        airflow.start(self._airflow_says)
        with self._stage.client("dana") as dana:
            for approval in self._pending(dana):
                self._ask(dana, approval)
        self._console.print()
        for task_id, task in sorted(airflow.result()["tasks"].items(), key=_order):
            self._task(task_id, task["state"], task["value"])
        bundle = self._stage.directory / "trail.zip"
        if airflow.form.assurance is Assurance.VERIFIED:
            self._say("Gateway", "the attempts are over: what they held may read for one more minute, for callbacks.")
            self._console.print("  Waiting for that minute to pass, to see that all of it is dead then.")
        promises = check(self._stage, airflow, Seen(self._held, self._states, rows_before), bundle)
        return self._verdict(promises, bundle)

    def _pending(self, dana: Client) -> Iterator[Approval]:
        """Every approval of the demo's DAG once, while it is pending, until that has ended."""
        known: set[str] = set()
        while self._airflow.running:
            for approval in dana.approvals(state=["pending"], dag_id=DAG_ID):
                if approval.id not in known:
                    known.add(approval.id)
                    yield approval
            time.sleep(0.2)

    def _ask(self, dana: Client, approval: Approval) -> None:
        task = approval.principal.name.rpartition(".")[2]
        self._held[task] = any(session.parked for session in dana.live_sessions())
        self._states[task] = self._airflow.waiting_state(task)
        waits = "holds its connection" if self._held[task] else "has deferred: no worker, no connection is held"
        if self._states[task]:
            waits += f" (Airflow: {self._states[task]})"
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
            self._console.print(Text(f"  {started_by}, of group dba too, started the DAG and {may}"))
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
            sessions = list(rae.sessions(SessionFilter(dag_id=DAG_ID, task_id=task_id)))
            for known in sorted({known_as(session.principal) for session in sessions}):
                self._console.print(Text(f"  the gateway knew it: {known}"))
            for number, session in enumerate(reversed(sessions), 1):
                if len(sessions) > 1:
                    self._console.print(Text(f"  connection {number} of {len(sessions)}"))
                for record in rae.records(session.id):
                    if record.kind == "refused" and record.content:
                        reason = str(record.content["reason"])
                        said = "asked, and let go" if reason.endswith("is pending") else "refused"
                        self._console.print(Text(f"  {said}: {reason}"))
                ran = server_log.statements(self._stage.postgres.log_file, session.id)
                for one in ran or [server_log.RanStatement(session.id, "nothing")]:
                    self._console.print(Text(f"  the server ran: {escaped(one.text)}"))
        for line in self._airflow.task_log(task_id):
            self._console.print(Text(f"  in the task's log: {escaped(line)}"))

    def _verdict(self, promises: list[Promise], bundle: Path) -> bool:
        title = f"What was promised, and what was observed (tasks {self._airflow.form.assurance})"
        table = Table("", "promise", "observed", title=title, title_justify="left")
        for promise in promises:
            mark = Text("kept", "bold green") if promise.held else Text("BROKEN", "bold red")
            table.add_row(mark, Text(promise.text), Text(promise.observed))
        self._console.print()
        self._console.print(table)
        self._console.print(f"Assurance shown: {assurance(self._airflow.form)}", highlight=False)
        if not self._decides:  # who runs it unattended is left with nothing on disk
            self._console.print(
                f"The trail, while this runs: {bundle} (check it again: .venv/bin/taskgate verify {bundle})",
                highlight=False,
            )
        return all(promise.held for promise in promises)

    def _airflow_says(self, text: str) -> None:
        self._say("Airflow", text)

    def _say(self, who: str, text: str) -> None:
        self._step += 1
        self._console.print(f"[bold cyan]{self._step:>2}[/] [cyan]{who:<9}[/] {text}", highlight=False)


def _order(item: tuple[str, object]) -> int:
    known = ["read_customers", "drop_orders", "delete_old_orders_stock", "delete_old_orders_governed"]
    return known.index(item[0]) if item[0] in known else len(known)


def assurance(form: Form) -> str:
    """The form's assurance in a line, and where the other one is shown."""
    if form.assurance is Assurance.VERIFIED:
        return f"[bold]{form.assurance}[/]: {form.meaning}"
    return f"[bold]{form.assurance}[/]: {form.meaning} (--airflow-full shows [bold]verified[/])"


def known_as(principal: Principal) -> str:
    """How a task is known, and by what; of a proven one also what Airflow was asked."""
    attributes = principal.attributes
    if principal.attempt is None or principal.assurance == Assurance.ASSERTED:
        return f"{principal.assurance} ({principal.verified_by})"
    return (
        f"{principal.assurance} ({principal.verified_by}): try {principal.attempt.try_number}, "
        f"bundle {attributes.get('bundle')}, DAG version {attributes.get('dag_version')}, "
        f"started by {attributes.get('triggering_user')}"
    )


def introduce(console: Console, stage: Stage) -> None:
    """What is running, before the DAG starts."""
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
