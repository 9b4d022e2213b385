"""The real gateway in front of a real PostgreSQL, for attacks that need all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from taskgate.demo.stage import Stage
from tests.servers.folders import server_folder


@pytest.fixture
def start_stage() -> Iterator[Callable[..., Stage]]:
    """Starts stages; all of them are stopped at the end of the test."""
    with ExitStack() as stack:

        def start(**options: Any) -> Stage:
            directory = stack.enter_context(server_folder("stage"))
            return stack.enter_context(Stage(directory, dashboard=False, **options))

        yield start
