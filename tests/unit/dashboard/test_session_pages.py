from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from tests.e2e.control_api_stand_in import ControlApi
from tests.unit.dashboard.conftest import html


def test_sessions_are_listed_with_totals(open_page: Callable[..., AppTest]) -> None:
    app = open_page("sessions")
    assert not app.exception
    assert {metric.label: metric.value for metric in app.metric} == {
        "Sessions": "3",
        "Actions": "3",
        "Refused": "1",
        "Values masked": "660",
    }
    assert list(app.dataframe[0].value["Task"]) == ["delete_old_orders_stock", "drop_orders", "read_customers"]


def test_sessions_are_filtered_by_the_gateway(api: ControlApi, open_page: Callable[..., AppTest]) -> None:
    app = open_page("sessions")
    app.text_input(key="name").set_value("cleanup drop_")
    app.selectbox(key="state").set_value("closed")
    app.run()
    assert list(app.dataframe[0].value["Task"]) == ["drop_orders"]
    app.text_input(key="name").set_value("nothing")
    app.run()
    assert "No session matches" in html(app)


def test_sessions_are_found_by_person_and_day(api: ControlApi, open_page: Callable[..., AppTest]) -> None:
    api.sessions["ses_read"]["principal"]["attributes"]["triggering_user"] = "bob"
    api.sessions["ses_del"]["opened_at"] = "2026-11-01T23:59:59+00:00"
    app = open_page("sessions")
    app.text_input(key="person").set_value("bo").run()
    assert list(app.dataframe[0].value["Person"]) == ["bob"]
    app.text_input(key="person").set_value("").run()
    app.date_input(key="since").set_value(date(2026, 11, 1))
    app.date_input(key="until").set_value(date(2026, 11, 1)).run()
    assert list(app.dataframe[0].value["Task"]) == ["delete_old_orders_stock"]
    app.date_input(key="until").set_value(date(2026, 10, 31)).run()
    assert "No session matches" in html(app)


def test_sessions_are_turned_page_by_page(api: ControlApi, open_page: Callable[..., AppTest]) -> None:
    for number in range(150):
        api.sessions[f"ses_{number}"] = api.sessions["ses_drop"] | {"id": f"ses_{number}"}
    app = open_page("sessions")
    assert len(app.dataframe[0].value) == 100
    app.button(key="older").click().run()
    assert len(app.dataframe[0].value) == 53
    assert app.button(key="older").disabled
    app.button(key="newer").click().run()
    assert len(app.dataframe[0].value) == 100
    app.button(key="older").click().run()
    app.text_input(key="name").set_value("read_customers").run()  # another search begins at its first page
    assert list(app.dataframe[0].value["Task"]) == ["read_customers"]


def test_a_bundle_is_offered_to_those_who_may_read_records(api: ControlApi, open_page: Callable[..., AppTest]) -> None:
    app = open_page("timeline", id="ses_read")
    assert [one.proto.label for one in app.get("download_button")] == ["Download bundle"]
    looks = api.key("sam")
    api.keys[looks]["scopes"] = ["sessions:read"]
    assert not open_page("timeline", key=looks, id="ses_read").get("download_button")
    assert not [path for _, path, _ in api.asked if path == "/v1/export"]  # nothing before the click


def _buttons(app: AppTest) -> set[str]:
    return {str(button.key) for button in app.button}


def test_a_live_session_is_ended_after_asking_once_more(api: ControlApi, open_page: Callable[..., AppTest]) -> None:
    key = api.key("oncall")
    api.keys[key]["scopes"].append("sessions:kill")
    app = open_page("timeline", key=key, id="ses_del")
    app.button(key="kill").click().run()
    app.button(key="kill-back").click().run()
    app.button(key="kill").click().run()
    assert not api.killed
    app.text_input(key="taskgate_kill_reason").set_value("runaway")
    app.button(key="kill-confirm").click().run()
    assert not app.exception
    assert api.killed == [("ses_del", "runaway")]
    assert "It is being ended" in html(app)
    assert not {"kill", "kill-confirm"} & _buttons(app)


def test_only_live_sessions_are_ended_and_only_by_those_who_may(
    api: ControlApi, open_page: Callable[..., AppTest]
) -> None:
    key = api.key("oncall")
    api.keys[key]["scopes"].append("sessions:kill")
    assert "kill" not in _buttons(open_page("timeline", key=key, id="ses_read"))
    assert "kill" not in _buttons(open_page("timeline", id="ses_del"))


def test_a_session_that_ended_meanwhile_is_no_error_page(api: ControlApi, open_page: Callable[..., AppTest]) -> None:
    key = api.key("oncall")
    api.keys[key]["scopes"].append("sessions:kill")
    app = open_page("timeline", key=key, id="ses_del")
    app.button(key="kill").click().run()
    original = api._kill

    def too_late(*arguments: Any) -> dict[str, Any]:
        api.sessions["ses_del"]["state"] = "closed"
        return original(*arguments)

    api._kill = too_late  # type: ignore[method-assign]
    app.button(key="kill-confirm").click().run()
    assert not app.exception
    assert not api.killed


def test_a_timeline_reads_from_top_to_bottom(open_page: Callable[..., AppTest]) -> None:
    app = open_page("timeline", id="ses_read")
    shown = html(app)
    assert not app.exception
    order = ["session opened", "BEGIN", "SELECT id, name, email, card, ssn FROM public.customers", "session closed"]
    places = [shown.index(text) for text in order]
    assert places == sorted(places)
    for expected in ("220 masked by us_ssn", "took 54 ms", "rule etl-reads", "SELECT 220, 220 rows"):
        assert expected in shown, expected


def test_a_refusal_says_why(open_page: Callable[..., AppTest]) -> None:
    shown = html(open_page("timeline", id="ses_drop"))
    assert "DROP TABLE public.orders" in shown
    assert "Schema changes go through migrations." in shown
    assert "tg-refused" in shown


def test_who_gave_a_grant_is_told_where_it_was_used(api: ControlApi, open_page: Callable[..., AppTest]) -> None:
    used = {"approval": "apr_7", "by": "user:taskgate:dana", "uses_left": 0}
    at = "2026-11-30T04:00:00+00:00"
    api.records["ses_del"] = [
        {"sequence": 0, "kind": "event", "at": at, "hash": "0", "content": {"name": "grant_used", "fields": used}},
        {"sequence": 1, "kind": "event", "at": at, "hash": "1", "content": {"name": "cancel_requested", "fields": {}}},
    ]
    shown = html(open_page("timeline", id="ses_del"))
    assert "used approval apr_7, given by user:taskgate:dana" in shown
    assert "cancel requested" in shown


def test_a_session_without_readable_records_says_so(open_page: Callable[..., AppTest]) -> None:
    assert "No record can be read yet" in html(open_page("timeline", id="ses_del"))


def test_a_timeline_without_a_session_asks_for_one(open_page: Callable[..., AppTest]) -> None:
    app = open_page("timeline")
    assert app.text_input[0].label == "Session"
    app.text_input[0].set_value("ses_read").run()
    assert "220 masked by us_ssn" in html(app)


def test_an_unknown_session_is_an_answer(open_page: Callable[..., AppTest]) -> None:
    app = open_page("timeline", id="ses_missing")
    assert r"no session ses\_missing" in app.error[0].value
    assert not app.exception


@pytest.mark.parametrize(
    ("session_id", "says"), [("ses_read", "sealed by checkpoint 17"), ("ses_del", "not yet covered")]
)
def test_verifying_a_session(open_page: Callable[..., AppTest], session_id: str, says: str) -> None:
    app = open_page("timeline", id=session_id)
    app.button(key=f"verify-{session_id}").click().run()
    assert says in html(app)


def test_a_broken_recording_is_loud(open_page: Callable[..., AppTest]) -> None:
    app = open_page("timeline", id="ses_drop")
    app.button(key="verify-ses_drop").click().run()
    assert "something is wrong" in app.error[0].value
    assert any("record 2 was changed" in one.value for one in app.markdown)


def test_the_recordings_of_a_run_are_verified_together(open_page: Callable[..., AppTest]) -> None:
    app = open_page("verification")
    assert set(app.dataframe[0].value["Recording"]) == {"not checked"}
    next(button for button in app.button if button.label == "Verify these 3").click().run()
    assert "1 of 3 recordings are not what they were" in app.error[0].value
    assert list(app.dataframe[0].value["Recording"]) == ["intact, not yet sealed", "BROKEN", "intact, sealed"]


def test_an_intact_run_is_said_to_be_so(api: ControlApi, open_page: Callable[..., AppTest]) -> None:
    del api.sessions["ses_drop"]
    app = open_page("verification")
    next(button for button in app.button if button.label == "Verify these 2").click().run()
    assert "2 recordings intact, 1 sealed" in app.success[0].value
