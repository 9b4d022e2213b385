"""The API's description: a change shows in review, and what is answered is what it says."""

from __future__ import annotations

import json
import os
from pathlib import Path

from fastapi import FastAPI

from taskgate.client.models import Problem

SNAPSHOT = Path(__file__).with_name("openapi.json")


def test_the_description_is_the_reviewed_one(app: FastAPI) -> None:
    """After an intended change: UPDATE_SNAPSHOTS=1, and look at the difference."""
    text = json.dumps(app.openapi(), indent=1, sort_keys=True) + "\n"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        SNAPSHOT.write_text(text)
    assert text == SNAPSHOT.read_text()


def test_every_operation_says_how_it_fails_and_what_it_needs(app: FastAPI) -> None:
    for path, operations in app.openapi()["paths"].items():
        for operation in operations.values():
            assert "default" in operation["responses"], path
            assert "422" not in operation["responses"], path
            if path.startswith("/v1/"):
                assert "x-required-scope" in operation, path
                scheme = "taskCredential" if path.startswith("/v1/attempt/") or path == "/v1/attempt" else "apiKey"
                if path.startswith("/v1/prefect/run/"):
                    scheme = "flowRun"
                assert operation["security"] == [{scheme: []}], path
            assert operation.get("description"), path


def test_models_of_the_description_are_those_of_the_client(app: FastAPI) -> None:
    schemas = app.openapi()["components"]["schemas"]
    assert set(Problem.model_fields) == set(schemas["Problem"]["properties"])
