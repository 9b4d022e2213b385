"""Where the demo's DAG, policy and settings are: `examples/airflow` of the source tree."""

from __future__ import annotations

from pathlib import Path

from taskgate.errors import SettingsError


def example_folder() -> Path:
    """Raises SettingsError where Taskgate was installed without its source tree."""
    folder = Path(__file__).resolve().parents[3] / "examples" / "airflow"
    if not (folder / "policy.yaml").exists():
        raise SettingsError(f"The demo's DAG is not at {folder}.", hint="Run `make demo` in a clone of the repository.")
    return folder
