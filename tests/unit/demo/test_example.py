"""What the demo expects of the examples is what they are."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from taskgate.demo.example import AIRFLOW, PREFECT, Example, Waiting
from taskgate.errors import SettingsError

PROMISED = Waiting(holds_connection=False, state="Suspended", processes=0)


def test_what_was_seen_fits_or_not() -> None:
    assert PROMISED.fits(PROMISED)
    assert Waiting(holds_connection=False).fits(PROMISED), "who cannot be asked is not held against it"
    for other in (
        replace(PROMISED, holds_connection=True),
        replace(PROMISED, state="Paused"),
        replace(PROMISED, processes=1),
    ):
        assert not other.fits(PROMISED), other


@pytest.mark.parametrize("example", [AIRFLOW, PREFECT], ids=lambda example: example.orchestrator)
def test_its_tasks_are_in_its_folder(example: Example) -> None:
    code = "\n".join(file.read_text() for file in example.folder.rglob("orders_cleanup.py"))
    for task in example.tasks:
        assert re.search(rf"\b{task}\b", code), task
    assert {one.task_id for one in example.deletions} <= set(example.tasks)
    for one in example.deletions:
        assert one.status in code
        assert one.before in code


def test_without_the_source_tree_it_says_so() -> None:
    with pytest.raises(SettingsError, match="The demo's flow is not at"):
        _ = replace(PREFECT, directory="nowhere").folder
