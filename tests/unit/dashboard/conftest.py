from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import taskgate_dashboard
from tests.e2e.control_api_sample import sample
from tests.e2e.control_api_stand_in import ControlApi, ControlApiServer

APP = Path(taskgate_dashboard.__file__).with_name("app.py")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ControlApiServer]:
    with ControlApiServer(sample()) as running:
        monkeypatch.setenv("TASKGATE_URL", running.url)
        yield running


@pytest.fixture
def api(server: ControlApiServer) -> ControlApi:
    return server.api


@pytest.fixture
def open_page(api: ControlApi) -> Callable[..., AppTest]:
    """The app at a page, signed in as dana (or whoever is given)."""

    def opened(page: str = "", key: str | None = None, **query: str) -> AppTest:
        app = AppTest.from_file(str(APP), default_timeout=20)
        for name, value in query.items():
            app.query_params[name] = value
        app.run()
        app.text_input[0].set_value(key or api.key("dana"))
        app.button[0].click().run()
        if page:
            app.switch_page(f"views/{page}.py").run()
            for name, value in query.items():
                app.query_params[name] = value
            app.run()
        return app

    return opened


def html(app: AppTest) -> str:
    """Everything that was written as HTML."""
    return "\n".join(str(element.proto.body) for element in app.get("html"))
