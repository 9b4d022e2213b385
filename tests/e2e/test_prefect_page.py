"""What people see of a governed run on Prefect's own pages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.browser import chromium
from tests.e2e.governed_prefect import GovernedPrefect
from tests.e2e.waiting_runs import ask, decide, done, last_order, there

pytestmark = [pytest.mark.timeout(400), pytest.mark.long]


@pytest.fixture
def page() -> Iterator[Page]:
    with chromium() as browser:
        yield browser.new_page(viewport={"width": 1400, "height": 1000})


def test_a_paused_run_says_what_is_asked_and_its_button_decides_nothing(
    governed_prefect: GovernedPrefect, page: Page
) -> None:
    governed_prefect.start_worker()
    try:
        order = last_order(governed_prefect)
        run, approval = ask(governed_prefect, order, "pause")
        pages = governed_prefect.prefect.url.removesuffix("/api")
        page.goto(f"{pages}/runs/flow-run/{run.id}")
        page.get_by_text("Resume", exact=True).click(timeout=20_000)
        form = page.get_by_role("dialog")
        for said in (approval.id, "deletes-need-a-human", "group:dba", "sql.delete public.orders", "decides nothing"):
            expect(form).to_contain_text(said)
        form.get_by_text("Submit").click()
        run.wait("Running")
        run.wait("Paused")  # it has looked again
        assert there(governed_prefect, order)
        decide(governed_prefect, approval)
        done(governed_prefect, run, order)
        (artifact,) = [one for one in run.artifacts() if one["key"] == "taskgate-orders-db"]
        page.goto(f"{pages}/artifacts/artifact/{artifact['id']}")
        shown = page.locator("body")
        for said in ("Session on orders-db", "verified", "sql.delete public.orders", "approved by user:taskgate:dana"):
            expect(shown).to_contain_text(said, timeout=20_000)
    finally:
        governed_prefect.prefect.stop_worker("governed-worker")
