"""One question to policy: put to policy files here, or written down for a running gateway."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from taskgate.client.models import ExplainRequest, Explanation

if TYPE_CHECKING:
    from taskgate.domain import Action
    from taskgate.policy.table_tests import CatalogSpec
    from taskgate.sql.catalog import Catalog

_HERE = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Question:
    """`who` is a principal as table tests describe one; either `sql` or `pairs`. `session` stands for `who` and
    `target`, and only a gateway knows it; `pairs`, `catalog` and `tables` only files are asked with."""

    target: str | None
    session: str | None
    who: dict[str, Any]
    sql: str | None
    pairs: tuple[str, ...]
    catalog: Path | None
    tables: tuple[str, ...]
    parameters: tuple[str, ...]
    time: datetime | None
    client_address: str | None

    def request(self) -> ExplainRequest:
        """For a gateway. Raises BadParameter."""
        if self.session is None and not self.who["source"]:
            raise typer.BadParameter("a gateway wants to know which Airflow or Prefect the task is from: --source")
        given = {
            "target": self.target,
            "session": self.session,
            "principal": self.who or None,
            "text": self.sql,
            "parameters": list(self.parameters),
            "time": self.time and self.time.replace(tzinfo=UTC),
            "client_address": self.client_address,
        }
        try:
            return ExplainRequest.model_validate(given)
        except ValueError as error:
            raise typer.BadParameter(_said(error)) from None

    def ask(self, paths: Iterable[Path]) -> Explanation:
        """Raises PolicyError, BadParameter."""
        from taskgate.api.explaining import judged
        from taskgate.policy import subjects
        from taskgate.policy.decision import Context
        from taskgate.policy.load import load
        from taskgate.policy.table_tests import PrincipalSpec

        known = self._catalog()
        time = (self.time or datetime.now(UTC)).replace(tzinfo=UTC)
        who = PrincipalSpec.model_validate(self.who).principal()
        context = Context(time, self.client_address or _HERE)
        return judged(who, subjects.target(self.target or ""), load(paths), known, self._action(known), context)

    def _action(self, known: Catalog) -> Action:
        from taskgate.errors import ClientFault
        from taskgate.policy import subjects

        try:
            if self.sql is None:
                return subjects.pairs(self.pairs)
            return subjects.statement(self.sql, known, parameters=self.parameters)
        except (ClientFault, ValueError) as error:
            raise typer.BadParameter(str(error)) from None

    def _catalog(self) -> Catalog:
        from taskgate.policy.table_tests import CatalogSpec

        spec = _read_catalog(self.catalog) if self.catalog is not None else CatalogSpec()
        tables = dict(spec.tables)
        for entry in self.tables:
            name, _, columns = entry.partition(":")
            if "." not in name:
                raise typer.BadParameter(f"--table is schema.table:column,column, not {entry!r}")
            tables[name] = [column.strip() for column in columns.split(",") if column.strip()]
        return spec.model_copy(update={"tables": tables}).catalog()


def _read_catalog(path: Path) -> CatalogSpec:
    from taskgate.policy import document
    from taskgate.policy.problems import Problem, as_error
    from taskgate.policy.table_tests import CatalogSpec

    problems: list[Problem] = []
    _, found = document.read(path, problems)
    if found is None or problems:
        raise as_error(problems)
    data = found.data.get("catalog", found.data) if isinstance(found.data, dict) else None
    try:
        return CatalogSpec.model_validate(data)
    except ValueError as error:
        raise typer.BadParameter(f"{path} is no catalogue: {error}") from None


def _said(error: ValueError) -> str:
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False))
