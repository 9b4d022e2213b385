"""One of a whole Airflow's processes, with everything it starts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from taskgate.demo.process_session import ProcessSession

Name = Literal["api-server", "scheduler", "triggerer", "dag-processor"]
NAMES: tuple[Name, ...] = ("api-server", "scheduler", "triggerer", "dag-processor")


class Component(ProcessSession):
    """Tasks lead process groups of their own, but stay in their component's session."""

    def __init__(self, name: Name, environment: dict[str, str], log: Path) -> None:
        command = [sys.executable, "-m", "airflow", name]
        if name == "triggerer":
            command.append("--skip-serve-logs")
        super().__init__(f"Airflow's {name}", command, environment, log)
