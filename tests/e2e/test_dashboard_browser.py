"""The dashboard in a real browser, against the stand-in control API: what only a browser can show."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.browser import chromium, dashboard, new_page, sign_in
from tests.e2e.control_api_sample import GOVERNED, HOSTILE, sample
from tests.e2e.control_api_stand_in import ControlApi, ControlApiServer


@pytest.fixture(scope="module")
def api() -> ControlApi:
    return sample()


@pytest.fixture(scope="module")
def key(api: ControlApi) -> str:
    return api.key("dana", groups=("dba", "oncall"))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dashboard") / "dashboard.log"


@pytest.fixture(scope="module")
def url(api: ControlApi, log: Path) -> Iterator[str]:
    with ControlApiServer(api) as server, dashboard(server.url, log) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def page(browser: Browser, url: str, key: str) -> Page:
    opened = new_page(browser)
    sign_in(opened, url, key)
    return opened


def _open(page: Page, task: str) -> None:
    page.get_by_role("button", name=re.compile(task)).click()
    expect(page.locator(".tg-title")).to_contain_text("orders-db")


def test_what_would_run_is_shown_to_the_character(page: Page) -> None:
    _open(page, "delete_old_orders_stock")
    expect(page.locator(".tg-code").first).to_have_text(GOVERNED)
    _open(page, "delete_old_orders_governed")
    expect(page.locator(".tg-hidden").first).to_have_text("U+202E")
    shown = page.locator(".tg-code").first.inner_text()
    assert not set(shown) & {"\u202e", "\u200b", "\x1b"}
    assert "ESC[2J" in shown
    assert HOSTILE.split("\n")[0] in shown


def test_nothing_stands_outside_the_window(page: Page) -> None:
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0
    code = page.locator(".tg-code").first
    assert code.evaluate("element => element.scrollWidth <= element.clientWidth")


def test_new_requests_appear_by_themselves_and_move_nothing(page: Page, api: ControlApi) -> None:
    first = page.get_by_role("button", name=re.compile("delete_old_orders_stock"))
    before = first.bounding_box()
    added = api.approval("UPDATE public.orders SET status = 'late'", target="reports-db", held=False)
    expect(page.get_by_text("reports-db")).to_be_visible(timeout=10_000)
    assert first.bounding_box() == before
    del api.approvals[added["id"]]


def test_a_decision_takes_two_clicks(page: Page, api: ControlApi) -> None:
    _open(page, "delete_old_orders_governed")
    deny = page.get_by_role("button", name="Yes, deny")
    for _ in range(3):
        comment = page.get_by_placeholder("Recorded with the decision")
        comment.fill("Looks odd")
        comment.press("Tab")  # the page is drawn anew; what is done in that moment is lost on a slow machine
        page.wait_for_timeout(500)
        expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
        page.get_by_role("button", name="Deny…").click()
        expect(deny).to_be_visible()
        if page.get_by_text("“Looks odd”").is_visible():
            break
        page.get_by_role("button", name="Back").click()  # as whoever sees that the comment is not there would
    expect(deny).to_have_css("background-color", "rgb(207, 34, 46)")
    deny.click()
    expect(page.get_by_text("Denied by user:dana")).to_be_visible()
    decided = next(one for one in api.approvals.values() if one["text"] == HOSTILE)
    assert (decided["state"], decided["comment"]) == ("denied", "Looks odd")


def test_a_session_is_read_and_verified(page: Page) -> None:
    page.get_by_role("link", name="Sessions").click()
    expect(page.get_by_text("Values masked")).to_be_visible()
    page.get_by_role("link", name="Verification").click()
    page.get_by_role("button", name="Verify these 3").click()
    expect(page.get_by_text("1 of 3 recordings are not what they were")).to_be_visible(timeout=20_000)


def test_a_session_is_found_by_parts_of_names(page: Page) -> None:
    page.get_by_role("link", name="Sessions").click()
    page.get_by_label("DAG, run or task").fill("cleanup delete_old")
    page.keyboard.press("Enter")
    expect(page.locator("[data-testid=stMetricValue]").first).to_have_text("1")
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0


def test_a_bundle_is_kept_and_a_session_ended(browser: Browser, url: str, api: ControlApi) -> None:
    oncall = api.key("oncall")
    api.keys[oncall]["scopes"].append("sessions:kill")
    opened = new_page(browser)
    sign_in(opened, f"{url}/timeline?id=ses_del", oncall)
    with opened.expect_download() as download:
        opened.get_by_role("button", name="Download bundle").click()
    assert download.value.suggested_filename == "ses_del.zip"
    assert Path(download.value.path()).read_bytes() == b"PK a bundle of ses_del"
    opened.get_by_role("button", name="End session…").click()
    opened.get_by_placeholder("Recorded, and told to the client").fill("runaway")
    opened.get_by_role("button", name="Yes, end it").click()
    expect(opened.get_by_text("It is being ended")).to_be_visible()
    assert api.killed == [("ses_del", "runaway")]


def test_the_key_is_nowhere_but_in_memory(page: Page, key: str, log: Path) -> None:
    stored = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])")
    assert key not in stored
    assert key not in page.content()
    assert key not in log.read_text()


def test_a_link_to_a_request_survives_signing_in(browser: Browser, url: str, api: ControlApi, key: str) -> None:
    approval = next(one["id"] for one in api.approvals.values() if one["text"] == GOVERNED)
    opened = new_page(browser)
    sign_in(opened, f"{url}/approvals?id={approval}", key)
    expect(opened.locator(".tg-code").first).to_have_text(GOVERNED)


def test_pages_answer_nothing_before_signing_in(browser: Browser, url: str) -> None:
    opened = new_page(browser)
    for path in ("", "sessions", "timeline?id=ses_read", "verification", "approvals"):
        opened.goto(f"{url}/{path}")
        expect(opened.locator("input[type=password]")).to_be_visible()
        assert "orders_cleanup" not in opened.content()


def test_airflows_link_survives_signing_in_and_can_be_dropped(browser: Browser, url: str, key: str) -> None:
    """As Airflow's "Gateway session" opens it, in a browser that has not signed in."""
    opened = new_page(browser)
    sign_in(opened, f"{url}/sessions?source=demo-airflow&dag_id=orders_cleanup&task_id=drop_orders&map_index=-1", key)
    expect(opened.get_by_text("task drop_orders")).to_be_visible()
    expect(opened.get_by_text("Only of")).to_be_visible()
    expect(opened.get_by_test_id("stMetricValue").first).to_have_text("1")
    opened.get_by_role("button", name="Show all").click()
    expect(opened.get_by_test_id("stMetricValue").first).to_have_text("3")
    expect(opened.get_by_text("Only of")).to_have_count(0)
    assert "task_id" not in opened.url
