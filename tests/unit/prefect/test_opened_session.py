from __future__ import annotations

from typing import Any

from taskgate_prefect.opened_session import session_id


class _Reports:
    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def info(self) -> Any:
        return self

    def parameter_status(self, name: str) -> str:
        assert name == "application_name"
        return self._name


def test_a_session_is_told_by_what_the_target_reports() -> None:
    assert session_id(_Reports("taskgate ses_7 etl")) == "ses_7"
    assert session_id(_Reports("etl")) is None
    assert session_id(_Reports("")) is None
    assert session_id(object()) is None
