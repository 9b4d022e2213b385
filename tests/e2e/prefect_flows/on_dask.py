"""The flow whose tasks run in Dask's processes on this machine."""

from __future__ import annotations

from credentials import credential, read
from identity import reads_in_a_process
from noting import tried
from prefect import flow
from prefect_dask import DaskTaskRunner


@flow(task_runner=DaskTaskRunner(cluster_kwargs={"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}))
def in_dask() -> None:
    for future in reads_in_a_process.map(range(4)):
        future.result()
    tried("parent", lambda: read(credential()))
