"""A person in front of ``mlflow ui``: experiment, sweep, trial, charts, report, model, in a real browser."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from mlflow import MlflowClient

from docs.screenshots import BROWSER, FLAGS, PICTURES, Site, opened, shoot
from tests import warm
from tests.conftest import MODEL, PRINTED, ROOT, STUDY
from tests.integration.services import free_port
from tests.tracking.test_tracking_server import serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

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


@pytest.fixture(scope="module")
def site(swept: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The addresses that ``rnn-sweep ui`` prints, and the pages on disk."""
    folder, port = tmp_path_factory.mktemp("compared"), str(free_port())
    copy = shutil.copy(swept / "studies" / f"{STUDY}.journal", folder)
    places = ["--storage", f"journal://studies/{STUDY}.journal", "--storage", f"journal://{copy}"]
    warm.run(_rnn_sweep("compare", STUDY, STUDY, *places, "--output", str(folder)), cwd=swept, check=True)
    (run,) = MlflowClient(f"sqlite:///{swept}/mlflow.db").search_runs(["1"], "attributes.run_name = 'trial 0'")
    (report,) = swept.glob("multirun/*/*/report.html")
    with opened(swept, STUDY, "--port", port) as sweep:
        line = _rnn_sweep("ui", run.info.run_id[:8], "--port", port, "--no-browser")
        again = warm.run(line, cwd=swept, capture_output=True, text=True)
        assert again.returncode == 0, "the server that runs is found"
        assert again.stdout.startswith(sweep.partition("/#")[0])
        yield Site(again.stdout.strip(), sweep, report.as_uri(), (folder / "compare.html").as_uri())


def _rnn_sweep(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "rnn_sweep", *arguments]


@pytest.mark.parametrize("name", PICTURES)
def test_the_pages_of_the_documents_are_as_their_pictures(
    name: str, browser: Browser, site: Site, tmp_path: Path
) -> None:
    """``docs/screenshots.py`` waits for what is to be seen on each."""
    shoot(browser, site, name, tmp_path / f"{name}.png")
    assert (tmp_path / f"{name}.png").stat().st_size > 5_000
    shown = "".join((ROOT / page).read_text() for page in ("README.md", "docs/reports.md"))
    assert f"images/{name}.png" in shown
    assert (ROOT / "docs" / "images" / f"{name}.png").is_file()


def test_what_is_printed_opens_the_pages(page: Page, site: Site, swept: Path) -> None:
    printed = next(line.strip() for line in (swept / PRINTED).read_text().splitlines() if "http://" in line)
    assert printed.partition("/#")[2] == site.sweep.partition("/#")[2]
    page.goto(site.sweep)
    page.get_by_role("link", name="trial 0", exact=True).wait_for()
    assert page.get_by_role("link", name="trial ").count() == 8
    page.set_viewport_size({"width": 2400, "height": 900})  # columns out of sight are not in the page
    for column in ("state", "val/accuracy_best", "model.layers", "optimizer.lr", "Duration", "Dataset"):
        page.get_by_role("columnheader", name=column, exact=True).first.wait_for()
    page.goto(f"{site.sweep}&compareRunsMode=CHART")
    page.get_by_text("Parallel Coordinates").wait_for()
    assert _sections(page)[:2] == ["curves", "parameters"], "not MLflow's own charts, in alphabetical order"
    page.goto(site.report)
    link = page.get_by_role("link", name="0", exact=True).first.get_attribute("href")
    assert link is not None
    assert link.partition("/#")[2] == site.run.partition("/#")[2], "a trial of the report opens the same page"


def _sections(page: Page) -> list[str]:
    """The titles above the charts, from the top."""
    return re.findall(r"^(\w[\w ]*)\s+\(\d+\)$", page.inner_text("body"), re.MULTILINE)


def test_a_walk_through_the_ui(page: Page, swept: Path) -> None:
    """From ``mlflow ui`` by the clicks that the README names."""
    with serving(swept, "ui") as address:
        page.goto(address)
        page.get_by_text("Model training", exact=True).click()
        page.get_by_role("link", name="rnn-sweep", exact=True).click()
        parent = page.get_by_role("link", name=STUDY, exact=True).first
        parent.wait_for()
        assert page.get_by_role("link", name="trial 0").count() == 0, "trials are folded away below their sweep"
        _unfold(page)
        assert page.get_by_role("link", name="trial ").count() == 8

        page.get_by_role("link", name="trial 0", exact=True).click()
        page.get_by_text("state: complete").wait_for()
        page.get_by_text("test_accuracy").first.wait_for()
        page.get_by_role("tab", name="Model metrics").click()
        page.locator(".js-plotly-plot .scatterlayer path.js-line").first.wait_for(state="attached")
        assert _sections(page) == ["train", "val", "Model metrics"], "curves come before single figures"
        page.get_by_role("tab", name="Overview").click()
        page.get_by_role("link", name=STUDY, exact=True).click()
        page.get_by_text("8 trials: ").wait_for()  # the description
        page.get_by_role("tab", name="Artifacts").click()
        page.get_by_text("report.html").first.click()
        frame = page.frame_locator("iframe").first
        frame.locator("body[data-drawn=yes]").wait_for()
        frame.get_by_role("heading", name=STUDY).wait_for()
        assert frame.locator("#plot-history .main-svg").count() > 0
        assert frame.get_by_role("link").count() == 0, "MLflow lets nothing be opened from within an artifact"

        page.goto(f"{address}/#/experiments/1/runs?workflowType=machine_learning&compareRunsMode=CHART")
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
    """Chromium on the page of a real sweep: pictures, no request, no error of a script."""
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
    for width in (1500, 390):
        page.set_viewport_size({"width": width, "height": 844})
        page.wait_for_function("!document.querySelector('#plot-history .legend') || innerWidth == " + str(width))
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out"
    grounds = [_grounds(page, scheme) for scheme in ("light", "dark")]
    assert grounds == [("rgb(255, 255, 255)",) * 2, ("rgb(17, 21, 28)",) * 2]


def _grounds(page: Page, scheme: Literal["light", "dark"]) -> tuple[str, str]:
    """Background of the page and of a figure in it."""
    page.emulate_media(color_scheme=scheme)
    body = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.wait_for_function(f"document.querySelector('#plot-history .main-svg').style.background == '{body}'")
    return body, page.evaluate("document.querySelector('#plot-history .main-svg').style.background")
