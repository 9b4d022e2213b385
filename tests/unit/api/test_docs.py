"""docs/api.md lists exactly the routes, scopes and attributes there are."""

from __future__ import annotations

import re
from pathlib import Path

from fastapi import FastAPI
from fastapi.routing import APIRoute

from taskgate.api.app import is_for, required_scope
from taskgate.api.authentication import OPEN_PATHS, own_run, own_task
from taskgate.api.claims import ASSERTABLE
from taskgate.identity.scopes import Scope

PAGE = Path(__file__).parents[3] / "docs" / "api.md"
_ROW = re.compile(r"^\| `(GET|POST|PUT|PATCH|DELETE) (/[^`]*)` \| (.+?) \|", re.MULTILINE)


def test_every_route_is_documented_with_its_scope(app: FastAPI) -> None:
    documented = {(method, path): scope for method, path, scope in _ROW.findall(PAGE.read_text())}
    real = {}
    for route in app.routes:
        if isinstance(route, APIRoute):
            scope = required_scope(route.dependant)
            stated = "open" if route.path in OPEN_PATHS else f"`{scope}`" if scope else "any key"
            if is_for(own_task, route.dependant):
                stated = "a task's credential"
            if is_for(own_run, route.dependant):
                stated = "a flow run's secret or token"
            real.update({(method, route.path): stated for method in route.methods})
    assert documented == real


def test_every_scope_is_documented() -> None:
    assert set(re.findall(r"^\| `([a-z:-]+)` \| ", PAGE.read_text(), re.MULTILINE)) == set(Scope)


def test_every_attribute_a_key_may_state_is_documented() -> None:
    text = PAGE.read_text()
    sentence = text[text.index("Attributes a service key may") : text.index("All of them are as asserted")]
    assert set(re.findall(r"`([a-z_]+)`", sentence)) == set(ASSERTABLE)
