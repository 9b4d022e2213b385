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
from taskgate.demo import server_log
from taskgate.demo.airflow_run import AirflowRun
from taskgate.demo.promises import Promise, Seen, check, matching_orders
from taskgate.demo.stage import DAG_ID, TARGET, Stage

_MOST_ROWS = 5


class Story:
    """`decides`: the demo decides itself, as dana through the API; otherwise it waits for somebody to."""

    def __init__(self, stage: Stage, console: Console, *, decides: bool) -> None:
        self._stage = stage
        self._console = console
        self._decides = decides
        self._step = 0
        self._held: dict[str, bool] = {}

    def tell(self) -> bool:
        """Run the DAG and narrate. Whether every promise was kept."""
        rows_before = matching_orders(self._stage)
        airflow = AirflowRun(self._stage)
        self._say("Airflow", "creating a metadata database for a real Airflow (SQLite)")
        airflow.prepare()
        self._say("Airflow", f"running the DAG [bold]{DAG_ID}[/]: its connection [bold]orders_db[/] is stored nowhere")
        airflow.start()
        try:
            with self._stage.client("dana") as dana:
                for approval in self._pending(dana, airflow):
                    self._ask(dana, approval)
        finally:
            airflow.stop()
        self._console.print()
        for task_id, task in sorted(airflow.result()["tasks"].items(), key=_order):
            self._task(task_id, task["state"], task["value"])
        bundle = self._stage.directory / "trail.zip"
        promises = check(self._stage, airflow, Seen(self._held, rows_before), bundle)
        return self._verdict(promises, bundle)

    def _pending(self, dana: Client, airflow: AirflowRun) -> Iterator[Approval]:
        """Every approval once, while it is pending, until the DAG has ended."""
        known: set[str] = set()
        while airflow.running:
            for approval in dana.approvals(state=["pending"]):
                if approval.id not in known:
                    known.add(approval.id)
                    yield approval
            time.sleep(0.2)

    def _ask(self, dana: Client, approval: Approval) -> None:
        task = approval.principal.name.rpartition(".")[2]
        self._held[task] = any(session.parked for session in dana.live_sessions())
        waits = "holds its connection" if self._held[task] else "has deferred: no worker, no connection is held"
        self._say("Approval", f"[bold]{task}[/] wants to delete and {waits}. What the approver sees:")
        parameters = dana.approval_parameters(approval.id).parameters
        shown = Table.grid(padding=(0, 2))
        shown.add_row("statement", exact(approval.text))
        shown.add_row("parameters", Text(", ".join(escaped(str(one.shown or one.value)) for one in parameters)))
        shown.add_row("does", Text("; ".join(approval.pairs)))
        shown.add_row("estimate", Text(str((approval.estimate or {}).get("rows", "unknown")) + " rows"))
        shown.add_row("rule", Text(", ".join(approval.rules)))
        self._console.print(Panel(shown, title=approval.id, title_align="left", expand=False))
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
            for session in reversed(sessions):
                for record in rae.records(session.id):
                    if record.kind == "refused" and record.content:
                        self._console.print(Text(f"  refused: {record.content['reason']}"))
                ran = server_log.statements(self._stage.postgres.log_file, session.id)
                for one in ran or [server_log.RanStatement(session.id, "nothing")]:
                    self._console.print(Text(f"  the server ran: {escaped(one.text)}"))

    def _verdict(self, promises: list[Promise], bundle: Path) -> bool:
        table = Table("", "promise", "observed", title="What was promised, and what was observed", title_justify="left")
        for promise in promises:
            mark = Text("kept", "bold green") if promise.held else Text("BROKEN", "bold red")
            table.add_row(mark, Text(promise.text), Text(promise.observed))
        self._console.print()
        self._console.print(table)
        if not self._decides:  # who runs it unattended is left with nothing on disk
            self._console.print(
                f"The trail, while this runs: {bundle} (check it again: .venv/bin/taskgate verify {bundle})",
                highlight=False,
            )
        return all(promise.held for promise in promises)

    def _say(self, who: str, text: str) -> None:
        self._step += 1
        self._console.print(f"[bold cyan]{self._step:>2}[/] [cyan]{who:<9}[/] {text}", highlight=False)


def _order(item: tuple[str, object]) -> int:
    known = ["read_customers", "drop_orders", "delete_old_orders_stock", "delete_old_orders_governed"]
    return known.index(item[0]) if item[0] in known else len(known)


def introduce(console: Console, stage: Stage) -> None:
    """What is running, before the DAG starts."""
    console.print(
        Panel.fit(
            f"{'PostgreSQL 18 with generated customers and orders':<52}127.0.0.1:{stage.postgres.port}\n"
            f"{f'the gateway, target {TARGET}':<52}127.0.0.1:{stage.gateway.postgres_port}\n"
            f"{'the control API':<52}{stage.gateway.url}\n"
            f"{'the dashboard':<52}{stage.dashboard_url}",
            title="Taskgate demo",
            title_align="left",
        ),
        highlight=False,
    )
