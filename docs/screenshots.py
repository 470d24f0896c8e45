"""The pictures of pages in README.md and docs/: real runs in an empty folder, and their pages in Chromium.

    python docs/screenshots.py [NAME…]     # all of them, or such as report; needs chromium, and the extra dev

The tests of the pages walk through :data:`PICTURES`, too.
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
SEARCH = "-m hydra/sweeper=optuna experiment=smoke hydra.sweeper.n_trials=30"
RUNS = {
    "run": "",
    "digits": f"{SEARCH} hydra.sweeper.sampler.seed=1 hydra/sweeper/pruner=median hydra.sweeper.study_name=digits",
    "random": f"{SEARCH} hydra.sweeper.sampler.seed=3 hydra/sweeper/sampler=random hydra.sweeper.study_name=random",
}
"""Arguments of ``run.py``."""
COLORS = 128
"""Of a picture: pages have few."""


@dataclass(frozen=True)
class Site:
    """Addresses of the pages."""

    run: str
    """A run's page in MLflow's UI, as ``rnn-sweep ui`` prints it."""
    sweep: str
    """A sweep's."""
    report: str
    compare: str


def run(page: Page, site: Site) -> None:
    """The curves of a run."""
    page.goto(site.run)
    page.locator(".js-plotly-plot .scatterlayer path.js-line").nth(2).wait_for(state="attached")
    _without_assistant(page)


def table(page: Page, site: Site) -> None:
    """The trials of a sweep."""
    page.set_viewport_size({"width": 1480, "height": 760})
    page.goto(site.sweep)
    page.get_by_role("link", name="trial 0", exact=True).wait_for()
    _without_assistant(page)
    page.get_by_role("columnheader", name="optimizer.lr", exact=True).first.wait_for()


def charts(page: Page, site: Site) -> None:
    """The curves of a sweep's trials, and parallel coordinates."""
    page.set_viewport_size({"width": 1400, "height": 1060})
    page.goto(f"{site.sweep}&compareRunsMode=CHART")
    page.locator("svg text").filter(has_text="optimizer.lr").first.wait_for()
    page.locator(".js-plotly-plot .scatterlayer path.js-line").nth(2).wait_for(state="attached")
    _without_assistant(page)


def report(page: Page, site: Site) -> None:
    """The top of a report."""
    page.goto(site.report)
    page.locator("body[data-drawn=yes]").wait_for()
    page.get_by_role("heading", name="Leaderboard").wait_for()


def dark(page: Page, site: Site) -> None:
    """A report's figures on a telephone, in the dark."""
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark")
    report(page, site)
    page.locator("#history").scroll_into_view_if_needed()
    page.evaluate("document.querySelector('#history').scrollIntoView()")


def compare(page: Page, site: Site) -> None:
    """Two studies beside each other."""
    page.set_viewport_size({"width": 1100, "height": 1420})
    page.goto(site.compare)
    page.locator("body[data-drawn=yes]").wait_for()
    page.locator("#plot-trials .scatterlayer path.js-line").first.wait_for(state="attached")


PICTURES: dict[str, Callable[[Page, Site], None]] = {
    "mlflow": run,
    "table": table,
    "sweep": charts,
    "report": report,
    "telephone": dark,
    "compare": compare,
}
"""What makes a page ready for each picture."""


def _without_assistant(page: Page) -> None:
    """Close the panel for questions that MLflow opens on a machine's own server; it has no name but its place."""
    with suppress(Exception):  # not there: nothing to close
        page.locator("button[data-component-id*=assistant][data-component-id*=close]").first.click(timeout=3000)
    page.wait_for_timeout(1500)  # the charts take the place


def shoot(browser: Browser, site: Site, name: str, path: Path) -> None:
    """Make a picture of a page that is ready."""
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    page.set_default_timeout(60_000)
    try:
        PICTURES[name](page, site)
        image = Image.open(io.BytesIO(page.screenshot()))
    finally:
        page.close()
    image.convert("RGB").quantize(COLORS).save(path, optimize=True)


@contextmanager
def opened(folder: Path, *arguments: str) -> Iterator[str]:
    """The address that ``rnn-sweep ui`` prints, until Ctrl-C."""
    line = [sys.executable, "-m", "rnn_sweep", "ui", *arguments, "--no-browser"]
    with subprocess.Popen(line, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0


@contextmanager
def _site(folder: Path, printed: dict[str, str]) -> Iterator[Site]:
    """The pages of what was run in a folder."""
    page = _last(printed["digits"], "report")
    with opened(folder, "digits") as sweep:
        server = sweep.partition("/#")[0]
        path = printed["run"].partition("/#")[2].split()[0]
        beside = _rnn_sweep(folder, "compare", "digits", "random")
        yield Site(f"{server}/#{path}", sweep, (folder / page).as_uri(), (folder / _last(beside, "page")).as_uri())


def _last(printed: str, what: str) -> Path:
    """A path from the terminal, such as that after ``report:``."""
    return Path(re.findall(rf"^{what}: +(.+)$", printed, re.MULTILINE)[-1])


def _rnn_sweep(folder: Path, *arguments: str) -> str:
    line = [sys.executable, "-m", "rnn_sweep", *arguments]
    return subprocess.run(line, cwd=folder, stdout=subprocess.PIPE, text=True, check=True).stdout


def main(names: Sequence[str], folder: Path) -> None:
    """Make pictures of what was run in a folder, or is run in it now."""
    from playwright.sync_api import sync_playwright

    printed = {}
    for name, arguments in RUNS.items():
        kept = folder / f"{name}.txt"
        if not kept.is_file():
            print("run.py", arguments, flush=True)
            line = [sys.executable, str(ROOT / "run.py"), *arguments.split()]
            done = subprocess.run(line, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
            kept.write_text(done.stdout)
        printed[name] = kept.read_text()
    if not names or "curves" in names:
        (curves,) = folder.glob(f"mlruns/*/{_id(printed['run'])}/artifacts/curves.png")
        shutil.copy(curves, IMAGES)
    with _site(folder, printed) as site, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        for name in [name for name in PICTURES if not names or name in names]:
            print(name, flush=True)
            shoot(browser, site, name, IMAGES / f"{name}.png")
        browser.close()


def _id(printed: str) -> str:
    """The id of the run whose page was printed."""
    return re.findall(r"/runs/(\w+)/", printed)[-1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"curves, {', '.join(PICTURES)}; all where none is given"
    )
    parser.add_argument("--folder", type=Path, help="keeps the runs for another call")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        main(given.names, given.folder or Path(temporary))
