from __future__ import annotations

from collections.abc import Callable

from streamlit.testing.v1 import AppTest

from tests.e2e.control_api_stand_in import ControlApi
from tests.unit.dashboard.conftest import APP, html


def _try(key: str) -> AppTest:
    app = AppTest.from_file(str(APP), default_timeout=20).run()
    app.text_input[0].set_value(key)
    return app.button[0].click().run()


def test_nothing_is_shown_before_signing_in(api: ControlApi) -> None:
    app = AppTest.from_file(str(APP), default_timeout=20).run()
    assert app.title[0].value == "Taskgate"
    assert api.asked == []


def test_the_persons_own_key_signs_in_and_stays_out_of_the_page(api: ControlApi) -> None:
    key = api.key("dana", groups=("dba", "oncall"))
    app = _try(key)
    assert not app.exception
    assert "<b>dana</b>" in html(app)
    assert "oncall" in html(app)
    assert key not in html(app) + str(app.query_params) + str(app)


def test_a_wrong_key_is_refused_in_words(api: ControlApi) -> None:
    app = _try("tgk_wrong")
    assert "unknown, expired or revoked" in app.error[0].value
    assert not app.exception


def test_no_key_and_an_impossible_key_are_named(api: ControlApi) -> None:
    assert "Paste your API key" in _try("").error[0].value
    assert "Cannot use this" in _try("with space and é").error[0].value


def test_a_service_key_is_told_that_it_never_decides(api: ControlApi) -> None:
    assert "never decide" in html(_try(api.key("robot", kind="service")))


def test_a_key_revoked_meanwhile_signs_out(api: ControlApi, open_page: Callable[..., AppTest]) -> None:
    app = open_page("sessions")
    api.keys.clear()
    app.run()
    assert "no longer works" in app.warning[0].value
    assert app.text_input[0].label == "Your API key"


def test_signing_out_forgets_everything(open_page: Callable[..., AppTest]) -> None:
    app = open_page()
    next(button for button in app.button if button.label == "Sign out").click().run()
    assert app.text_input[0].label == "Your API key"
    assert "taskgate_client" not in app.session_state


def test_errors_of_the_gateway_are_readable_and_no_markup(api: ControlApi, open_page: Callable[..., AppTest]) -> None:
    app = open_page("sessions")
    api.broken = [500] * 4
    app.run()
    assert not app.exception
    assert "the test asked for it" in app.error[0].value
    assert r"req\_stand\_in" in app.error[0].value
