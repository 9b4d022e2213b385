"""The whole gateway as a real process in front of a real PostgreSQL with the demo's data."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from taskgate.client import Client
from taskgate.demo.stage import Stage
from tests.servers.folders import server_folder

# What the tests need beside the demo's policy: short waits, a row bound, an exemption, a rule for asserted tasks.
POLICY = """\
version: 1
rules:
  - id: tests-inserts
    match: {targets: [orders-db], principals: {kind: user}, effects: [sql.insert], objects: [public.notes]}
    verdict: allow
  - id: tests-copy-out
    match: {targets: [orders-db], principals: {kind: user}, effects: [sql.copy_out], objects: ["public.*"]}
    verdict: allow
  - id: tests-short-hold
    match: {targets: [orders-db], principals: {kind: user}, effects: [sql.update], objects: [public.customers]}
    verdict: approve
    approval: {from: ["group:dba"], hold: 2s, expires: 1h}
  - id: tests-bounded
    match:
      targets: [orders-db]
      principals: {kind: task, source: demo-airflow, assurance: asserted}
      effects: [sql.update]
      objects: [public.orders]
    verdict: approve
    approval: {from: ["group:dba"], hold: 10s, expires: 1h, max_rows: 3}
  - id: tests-hold-then-retry
    match:
      targets: [orders-db]
      principals: {kind: task, source: demo-airflow, assurance: asserted}
      effects: [sql.delete]
      objects: [public.customers]
    verdict: approve
    approval: {from: ["group:dba"], hold: 2s, expires: 1h}
  - id: tests-tasks-write
    match:
      targets: [orders-db]
      principals: {kind: task, source: demo-airflow, assurance: asserted}
      effects: [sql.insert, sql.copy_in, sql.select, sql.listen, sql.call, sql.unknown]
      objects: [public.log_of_ends, public.write_down, news]
    verdict: allow
  - id: tests-tasks-write-a-little
    match:
      targets: [orders-db]
      principals: {kind: task, source: demo-airflow, assurance: asserted}
      effects: [sql.delete]
      objects: [public.log_of_ends]
    when: impact.rows < 1000.0
    verdict: allow
"""


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with server_folder("stage") as directory, Stage(directory, dashboard=False, policies=[POLICY]) as running:
        yield running


@pytest.fixture
def dana(stage: Stage) -> Iterator[Client]:
    with stage.client("dana") as client:
        yield client


@pytest.fixture
def airflow(stage: Stage) -> Iterator[Client]:
    with stage.client("airflow") as client:
        yield client
