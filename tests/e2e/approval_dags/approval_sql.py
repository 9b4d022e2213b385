"""The statement that the approval DAGs run: each run changes the rows it is told, and leaves its id in them."""

from __future__ import annotations

from airflow.sdk import Param

CHANGE = "UPDATE public.customers SET city = '{{ run_id }}' WHERE id = {{ params.row }}"
PARAMS = {"row": Param(1)}
