"""A person in front of ``mlflow ui``: experiment, sweep, trial, charts, report, model, in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mlflow import MlflowClient

from tests.conftest import MODEL, STUDY
from tests.tracking.test_tracking_server import serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="needs chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1500, "height": 900})
    page.set_default_timeout(30_000)
    yield page
    page.close()


def test_a_walk_through_the_ui(page: Page, swept: Path, tmp_path: Path) -> None:
    client = MlflowClient(f"sqlite:///{swept}/mlflow.db")
    experiment = client.get_experiment_by_name("rnn-sweep")
    assert experiment is not None
    runs = f"#/experiments/{experiment.experiment_id}/runs?workflowType=machine_learning"
    with serving(swept, "ui") as address:
        page.goto(f"{address}/{runs}")
        parent = page.get_by_role("link", name=STUDY, exact=True).first
        parent.wait_for()
        assert page.get_by_role("link", name="trial 0").count() == 0, "trials are folded away below their sweep"
        _unfold(page)
        assert page.get_by_role("link", name="trial ").count() == 8

        page.get_by_role("link", name="trial 0", exact=True).click()
        page.get_by_text("state: complete").wait_for()
        page.get_by_text("test/accuracy").first.wait_for()
        page.get_by_role("link", name=STUDY, exact=True).click()
        page.get_by_text("8 trials: ").wait_for()  # the description
        page.get_by_role("tab", name="Artifacts").click()
        page.get_by_text("report.html").first.click()
        frame = page.frame_locator("iframe").first
        frame.locator("body[data-drawn=yes]").wait_for()
        frame.get_by_role("heading", name=STUDY).wait_for()
        assert frame.locator("#plot-history .main-svg").count() > 0

        page.goto(f"{address}/{runs}&compareRunsMode=CHART")
        page.get_by_role("link", name=STUDY, exact=True).first.wait_for()
        if page.get_by_role("link", name="trial 0").count() == 0:
            _unfold(page)
        page.get_by_placeholder("Search metric charts").fill("val/loss")
        page.locator(".js-plotly-plot .scatterlayer path.js-line").nth(2).wait_for(state="attached")

        page.goto(f"{address}/#/models/{MODEL}")
        page.get_by_text("champion").wait_for()


def _unfold(page: Page) -> None:
    page.locator("button[data-component-id*=runnamecellrenderer]").first.click()
    page.get_by_role("link", name="trial 0", exact=True).first.wait_for()


def test_the_report_opens_without_a_network(page: Page, swept: Path) -> None:
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    (report,) = swept.glob("multirun/*/*/report.html")
    page.goto(report.as_uri())
    page.locator("body[data-drawn=yes]").wait_for()
    for key in ("history", "slice", "intermediate", "timeline"):
        assert page.locator(f"#plot-{key} .main-svg").count() > 0
    assert requests == [report.as_uri()]
    assert not errors
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 1500, "nothing sticks out"
