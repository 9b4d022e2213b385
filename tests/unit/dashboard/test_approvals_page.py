from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from streamlit.testing.v1 import AppTest

from tests.e2e.control_api_sample import GOVERNED, HOSTILE
from tests.e2e.control_api_stand_in import ControlApi
from tests.unit.dashboard.conftest import html


def _of(api: ControlApi, text: str) -> str:
    return next(one["id"] for one in api.approvals.values() if one["text"] == text)


def _button(app: AppTest, key: str) -> object:
    return next(button for button in app.button if button.key == key)


def _press(app: AppTest, key: str) -> AppTest:
    return next(button for button in app.button if button.key == key).click().run()


def _keys(app: AppTest) -> list[str]:
    return [str(button.key) for button in app.button]


def test_the_inbox_shows_what_this_person_may_decide_oldest_first(
    api: ControlApi, open_page: Callable[..., AppTest]
) -> None:
    app = open_page()
    opened = [key for key in _keys(app) if key.startswith("open-")]
    assert opened == [f"open-{_of(api, GOVERNED)}", f"open-{_of(api, HOSTILE)}"]
    assert "connection waiting" in html(app)


def test_which_run_asks_is_said_in_the_list_and_before_the_decision(
    api: ControlApi, open_page: Callable[..., AppTest]
) -> None:
    attempt = api.approvals[_of(api, GOVERNED)]["principal"]["attempt"]
    attempt["run_name"] = "wakeful-<i>crow"
    app = open_page()
    assert html(app).count("wakeful-&lt;i&gt;crow") == 1
    _press(app, f"open-{_of(api, GOVERNED)}")
    assert f"wakeful-&lt;i&gt;crow ({attempt['task']['run_id']})" in html(app)
    _press(app, "approve")
    assert "in run wakeful-&lt;i&gt;crow" in html(app)


def test_how_long_a_connection_waits_is_shown(api: ControlApi, open_page: Callable[..., AppTest]) -> None:
    approval_id = _of(api, GOVERNED)
    for seconds, shown in ((200, "connection waiting, 3 min"), (40, "connection waiting, 3"), (-5, "0 ms left")):
        api.approvals[approval_id]["waits_until"] = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
        app = open_page(id=approval_id)
        assert html(app).count(shown) == 2  # in the list and above the request
    api.decide(approval_id, True, "user:erin")
    app.run()
    assert "connection waiting, " not in html(app)


def test_that_nobody_may_decide_is_loud(api: ControlApi, open_page: Callable[..., AppTest]) -> None:
    mine = next(one for one in api.approvals.values() if not one["may_decide"])
    mine["nobody_may_because"] = "everybody of group:dba stands behind the request"
    app = open_page(id=mine["id"])
    assert "Nobody may decide this as things are" in app.error[0].value
    app.session_state["scope"] = "All pending"
    app.run()
    assert "nobody may decide" in html(app)


def test_that_approving_opens_nothing_any_more_is_said(api: ControlApi, open_page: Callable[..., AppTest]) -> None:
    approval_id = _of(api, GOVERNED)
    app = open_page(id=approval_id)
    assert "outdated" not in html(app)
    api.approvals[approval_id]["outdated_because"] = "the policy has changed since it was asked for"
    app = open_page(id=approval_id)
    assert "Approving opens nothing: the policy has changed" in app.warning[0].value
    assert "outdated" in html(app)


def test_the_last_decision_comes_first(api: ControlApi, open_page: Callable[..., AppTest]) -> None:
    for name in (HOSTILE, GOVERNED):
        api.decide(_of(api, name), True, "user:erin")
    early, late = _of(api, GOVERNED), _of(api, HOSTILE)
    api.approvals[early]["decided_at"] = (datetime.now(UTC) - timedelta(minutes=3)).isoformat()
    api.approvals[late]["decided_at"] = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    for first, second in ((late, early), (early, late)):
        app = open_page()
        app.session_state["scope"] = "Decided"
        app.run()
        opened = [key for key in _keys(app) if key in (f"open-{early}", f"open-{late}")]
        assert opened == [f"open-{first}", f"open-{second}"]
        api.approvals[early]["decided_at"] = datetime.now(UTC).isoformat()


def test_other_scopes_show_the_rest(api: ControlApi, open_page: Callable[..., AppTest]) -> None:
    app = open_page()
    app.session_state["scope"] = "All pending"
    app.run()
    assert len([key for key in _keys(app) if key.startswith("open-")]) == 3
    app.session_state["scope"] = "Decided"
    app.run()
    assert len([key for key in _keys(app) if key.startswith("open-")]) == 1
    assert "denied" in html(app)


def test_one_request_is_shown_whole(api: ControlApi, open_page: Callable[..., AppTest]) -> None:
    app = open_page()
    _press(app, f"open-{_of(api, GOVERNED)}")
    shown = html(app)
    assert not app.exception
    for expected in (
        "DELETE FROM public.orders WHERE created_at &lt; $1 AND status = $2",
        "2025-01-01",
        "timestamptz",
        "orders_cleanup / delete_old_orders_stock",
        "asserted by service key demo-airflow",
        "alice",
        "deletes-need-a-human",
        "group:dba",
        "212",
        "at most 500 rows",
        "b6" * 32,
        "shop_writer",
    ):
        assert expected in shown, expected


def test_hidden_and_lookalike_characters_are_spelled_out(api: ControlApi, open_page: Callable[..., AppTest]) -> None:
    app = open_page()
    _press(app, f"open-{_of(api, HOSTILE)}")
    shown = html(app)
    assert "\u202e" not in shown
    assert "\x1b" not in shown
    assert ">U+202E</span>" in shown
    assert 'class="tg-foreign"' in shown
    assert len(app.warning) == 2


def test_parameters_are_asked_for_once(api: ControlApi, open_page: Callable[..., AppTest]) -> None:
    """Each look is recorded: renewing the page every two seconds must not look again."""
    app = open_page()
    approval_id = _of(api, GOVERNED)
    _press(app, f"open-{approval_id}")
    app.run()
    app.run()
    assert [path for _, path, _ in api.asked].count(f"/v1/approvals/{approval_id}/parameters") == 1


def test_approving_takes_two_clicks_and_carries_the_comment(api: ControlApi, open_page: Callable[..., AppTest]) -> None:
    app = open_page()
    approval_id = _of(api, GOVERNED)
    _press(app, f"open-{approval_id}")
    next(one for one in app.text_input if one.label == "Comment").set_value("checked with the shop")
    _press(app, "approve")
    assert api.approvals[approval_id]["state"] == "pending"
    assert "checked with the shop" in html(app)
    _press(app, "confirm")
    assert not app.exception
    decided = api.approvals[approval_id]
    assert (decided["state"], decided["decided_by"], decided["comment"]) == (
        "approved",
        "user:dana",
        "checked with the shop",
    )
    app.run()
    assert r"Approved by user\:dana" in app.success[0].value
    assert "confirm" not in _keys(app)


def test_denying_and_going_back(api: ControlApi, open_page: Callable[..., AppTest]) -> None:
    app = open_page()
    approval_id = _of(api, HOSTILE)
    _press(app, f"open-{approval_id}")
    _press(app, "deny")
    _press(app, "back")
    assert "deny" in _keys(app)
    _press(app, "deny")
    _press(app, "deny-confirm")
    assert api.approvals[approval_id]["state"] == "denied"


def test_a_confirmation_does_not_carry_over_to_another_request(
    api: ControlApi, open_page: Callable[..., AppTest]
) -> None:
    app = open_page()
    _press(app, f"open-{_of(api, GOVERNED)}")
    _press(app, "approve")
    _press(app, f"open-{_of(api, HOSTILE)}")
    assert not {"confirm", "deny-confirm"} & set(_keys(app))
    assert "approve" in _keys(app)


def test_somebody_faster_is_no_error_page(api: ControlApi, open_page: Callable[..., AppTest]) -> None:
    app = open_page()
    approval_id = _of(api, GOVERNED)
    _press(app, f"open-{approval_id}")
    _press(app, "approve")
    api.decide(approval_id, False, "user:erin", "no")
    app.run()
    assert not app.exception
    assert r"Denied by user\:erin" in app.error[0].value
    assert api.approvals[approval_id]["state"] == "denied"


def test_parameters_stay_readable_after_the_decision(api: ControlApi, open_page: Callable[..., AppTest]) -> None:
    approval_id = _of(api, GOVERNED)
    api.decide(approval_id, True, "user:erin")
    api.approvals[approval_id]["may_decide"] = False
    app = open_page(id=approval_id)
    app.run()
    assert "cancelled" in html(app)
    assert [path for _, path, _ in api.asked].count(f"/v1/approvals/{approval_id}/parameters") == 1


def test_parameters_of_a_decided_request_are_not_everybodys(api: ControlApi, open_page: Callable[..., AppTest]) -> None:
    approval_id = _of(api, GOVERNED)
    api.decide(approval_id, True, "user:erin")
    api.unseen.add(approval_id)
    app = open_page(id=approval_id)
    app.run()
    assert not app.exception
    assert "cancelled" not in html(app)
    assert "to who may read records" in html(app)
    assert [path for _, path, _ in api.asked].count(f"/v1/approvals/{approval_id}/parameters") == 1


def test_who_may_not_decide_gets_no_buttons(api: ControlApi, open_page: Callable[..., AppTest]) -> None:
    mine = next(one["id"] for one in api.approvals.values() if not one["may_decide"])
    app = open_page(id=mine)
    assert "approve" not in _keys(app)
    assert "you started this run" in app.info[0].value
    assert not [path for _, path, _ in api.asked if path.endswith("/parameters")]


def test_parameters_that_cannot_be_read_stop_the_decision(api: ControlApi, open_page: Callable[..., AppTest]) -> None:
    app = open_page()
    api.keys = {key: who | {"groups": []} for key, who in api.keys.items()}
    original = api._parameters

    def broken(*arguments: object) -> dict[str, object]:
        raise RuntimeError

    api._parameters = broken  # type: ignore[method-assign, assignment]
    _press(app, f"open-{_of(api, GOVERNED)}")
    assert "approve" not in _keys(app)
    api._parameters = original  # type: ignore[method-assign]


def test_a_link_to_a_request_opens_it(api: ControlApi, open_page: Callable[..., AppTest]) -> None:
    assert "created_at &lt; $1" in html(open_page(id=_of(api, GOVERNED)))


def test_a_link_to_nothing_says_so(open_page: Callable[..., AppTest]) -> None:
    app = open_page(id="apr_missing")
    assert not app.exception
    assert r"no approval apr\_missing" in app.error[0].value
