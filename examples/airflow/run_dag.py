"""Run a DAG of the DAGs folder once in this process, with Airflow's own task runner and triggers, and say how it went.

    python run_dag.py orders_cleanup --result result.json

The environment configures Airflow (airflow.env, AIRFLOW_HOME, AIRFLOW__CORE__DAGS_FOLDER); the metadata database must
exist (`airflow db migrate`). The result holds the run's state, each task's state, tries and XCom value
(a mapped task's as `task[0]`, `task[1]`, …). Exits 0 when
the run succeeded, 1 when it failed.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def run(dag_id: str) -> dict[str, Any]:
    from airflow.configuration import conf
    from airflow.dag_processing.dagbag import DagBag
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    folder = Path(conf.get("core", "dags_folder"))
    bag = DagBag(dag_folder=folder, bundle_path=folder, bundle_name="dags-folder")
    if bag.import_errors:
        raise SystemExit("\n".join(f"{file}:\n{error}" for file, error in bag.import_errors.items()))
    dag_run = bag.dags[dag_id].test()
    with create_session() as session:
        found = session.scalars(XComModel.get_many(run_id=dag_run.run_id, dag_ids=dag_id, key="return_value"))
        values = {_name(one): XComModel.deserialize_value(one) for one in found}
        instances = dag_run.get_task_instances(session=session)
    tasks = {
        _name(one): {"state": str(one.state), "tries": one.try_number, "value": values.get(_name(one))}
        for one in instances
    }
    return {"run_id": dag_run.run_id, "state": str(dag_run.state), "tasks": tasks}


def _name(one: Any) -> str:
    return one.task_id if one.map_index < 0 else f"{one.task_id}[{one.map_index}]"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dag_id")
    parser.add_argument("--result", type=Path, help="write the result here instead of to standard output")
    chosen = parser.parse_args()
    result = run(chosen.dag_id)
    text = json.dumps(result, indent=2, default=str)
    if chosen.result:
        chosen.result.write_text(text)
    else:
        sys.stdout.write(text + "\n")
    return 0 if result["state"] == "success" else 1


if __name__ == "__main__":
    sys.exit(main())
