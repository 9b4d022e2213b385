"""Outlives the flow run that started it: reads with what it was given and asks for more, until nothing works."""

from __future__ import annotations

import os
import time

import psycopg
from noting import tried

from taskgate.client import Client


def read() -> object:
    with psycopg.connect(os.environ["DSN"], connect_timeout=5) as connection:
        return connection.execute("SELECT count(*) FROM orders").fetchone()


def ask() -> str:
    with Client(os.environ["RUN_URL"], os.environ["RUN_TOKEN"], tries=1) as gateway:
        return gateway.issue_run_credential(os.environ["TARGET"]).id


if __name__ == "__main__":
    until = time.monotonic() + 90
    while time.monotonic() < until:
        tried("held", read)
        tried("new", ask)
        time.sleep(1)
