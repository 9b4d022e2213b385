"""Several DAGs one after the other in one process: importing Airflow takes longer than they do.

python run_dags.py directory one_dag another_dag

Each one's result goes to `directory`/`dag`.json, as `run_dag.py` has it."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "airflow"

if __name__ == "__main__":
    run = runpy.run_path(str(EXAMPLE / "run_dag.py"))["run"]
    directory, *dag_ids = sys.argv[1:]
    for dag_id in dag_ids:
        Path(directory, f"{dag_id}.json").write_text(json.dumps(run(dag_id), default=str))
