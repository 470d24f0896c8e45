"""What seeing and steering a sweep costs, and how soon an order is obeyed.

``watch``: on a study of 10,000 trials, and one that runs and reports twice a second: seconds to the first picture, and
the part of a core that the command takes afterwards. ``orders``: for each launcher, a sweep whose epochs take half a
second is told to stop a trial and to pause; the epochs that trials have reported between the order and their end.

``addresses``: what a run and a sweep have printed, opened twenty times in profiles that know nothing of MLflow yet.

Usage: python -m benchmarks.steering [watch] [orders] [addresses]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import optuna
import pexpect
import psutil
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState

from docs import screenshots
from docs.screenshots import BROWSER, FLAGS, Site, opened
from rnn_sweep.commands import steer
from rnn_sweep.storage import open_storage

ROOT = Path(__file__).resolve().parent.parent
TRIALS = 10_000
EPOCHS = 10
"""Of each trial of the large study."""
SECONDS = 40.0
"""For how long the view is measured."""
TIMES = 20
"""How often each address is opened."""
LAUNCHERS = ("threads", "processes", "basic", "joblib", "ray")

APP = """
import time, rnn_sweep
from hydra.core.config_store import ConfigStore

ConfigStore.instance().store(name="c", node={"x": 1.0, "objective": "score", "tracking": {"enabled": False}})

@rnn_sweep.main(config_name="c", hooks=rnn_sweep.Hooks(alone=lambda cfg: ""))
def main(cfg, run):
    total = run.keep([0.0])
    for epoch in run.epochs(1000):
        time.sleep(0.5)
        total[0] += cfg.x
        run.log({"score": total[0]})

if __name__ == "__main__":
    main()
"""


def large(folder: Path) -> optuna.Study:
    """A study in a journal, with one trial that runs."""
    study = optuna.create_study(study_name="large", storage=open_storage(f"journal://{folder}/large.journal"))
    space = {"optimizer.lr": FloatDistribution(1e-5, 1e-1, log=True), "model.hidden_dim": IntDistribution(16, 512)}
    for n in range(TRIALS):
        curve = {epoch: 1 / (epoch + n % 7) for epoch in range(1, EPOCHS + 1)}
        params = {"optimizer.lr": 1e-3, "model.hidden_dim": 16 + n % 400}
        state = TrialState.PRUNED if n % 3 else TrialState.COMPLETE
        value = curve[EPOCHS] if state is TrialState.COMPLETE else None
        study.add_trial(
            optuna.create_trial(state=state, value=value, params=params, distributions=space, intermediate_values=curve)
        )
    return study


def watch(folder: Path) -> None:
    """Measure the view."""
    study = large(folder)
    trial, done = study.ask(), threading.Event()

    def report() -> None:
        epoch = 0
        while not done.wait(0.5):
            epoch += 1
            trial.report(1 / epoch, epoch)

    threading.Thread(target=report, daemon=True).start()
    line = ["-m", "rnn_sweep", "watch", "large", "--storage", f"journal://{folder}/large.journal"]
    began = time.perf_counter()
    with pexpect.spawn(sys.executable, line, cwd=str(folder), timeout=120, dimensions=(40, 120)) as view:
        view.expect("ended")
        first = time.perf_counter() - began
        process = psutil.Process(view.pid)
        time.sleep(2)
        before, start = sum(process.cpu_times()[:2]), time.perf_counter()
        end = start + SECONDS
        while time.perf_counter() < end:
            view.expect([pexpect.TIMEOUT, "never printed"], timeout=1)  # reads what it writes
        part = (sum(process.cpu_times()[:2]) - before) / (time.perf_counter() - start)
        view.sendintr()
    done.set()
    print(f"watch, {TRIALS:,} trials: first picture after {first:.2f} s (limit 2 s), {part:.1%} of a core (limit 3 %)")


def running(study: optuna.Study) -> list[int]:
    """Numbers of the trials that train: they have reported."""
    return [t.number for t in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)) if t.intermediate_values]


def epochs(study: optuna.Study, number: int) -> int:
    """Epochs that a trial has reported."""
    return max(study.trials[number].intermediate_values, default=0)


def until_over(study: optuna.Study, numbers: list[int]) -> None:
    """Wait for trials to end."""
    while any(not study.trials[number].state.is_finished() for number in numbers):
        time.sleep(0.05)


def orders(folder: Path, launcher: str) -> None:
    """Steer a sweep."""
    (folder / "app.py").write_text(APP)
    more = [] if launcher == "basic" else ["hydra.sweeper.n_jobs=2"]
    line = [
        sys.executable,
        "app.py",
        "-m",
        "hydra/sweeper=optuna",
        "x=interval(1,2)",
        f"hydra/launcher={launcher}",
        *more,
    ]
    names = [*more, "hydra.sweeper.study_name=s", "hydra.sweeper.n_trials=9", "hydra.sweeper.report=false"]
    sweep = subprocess.Popen([*line, *names], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        journal, wanted = folder / "studies" / "s.journal", 1 if launcher == "basic" else 2
        while not journal.exists():
            time.sleep(0.1)
        time.sleep(2)
        study = optuna.load_study(study_name="s", storage=open_storage(f"journal://{journal}"))
        while len(running(study)) < wanted:
            time.sleep(0.1)
        told = running(study)[0]
        steer.stop(study, told)
        before = epochs(study, told)
        until_over(study, [told])
        stopped = epochs(study, told) - before
        while len(running(study)) < wanted:
            time.sleep(0.1)
        steer.pause(study)
        then = {number: epochs(study, number) for number in running(study)}
        until_over(study, list(then))
        paused = [epochs(study, number) - n for number, n in then.items()]
        text = f"after the order to stop {stopped} epoch(s) more, after that to pause {', '.join(map(str, paused))}"
        print(f"{launcher}: {text}", flush=True)
    finally:
        sweep.terminate()
        sweep.wait(60)


def _run(folder: Path, *arguments: str) -> str:
    """What ``run.py`` prints."""
    line = [sys.executable, str(ROOT / "run.py"), *arguments, "experiment=smoke"]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, check=True).stdout


def addresses(folder: Path) -> None:
    """Open the printed addresses of a run and of its sweep in fresh profiles of Chromium."""
    from playwright.sync_api import Error, sync_playwright

    sweep = ["-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=3", "hydra.sweeper.study_name=s"]
    printed = _run(folder)
    _run(folder, *sweep)
    with opened(folder, "s") as address:
        run = printed.partition("/#")[2].split()[0]
        pages = Site(f"{address.partition('/#')[0]}/#{run}", address, "", "")
        good = {"run": 0, "table": 0}
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
            for name in [name for _ in range(TIMES) for name in good]:
                page = browser.new_page()
                try:
                    {"run": screenshots.run, "table": screenshots.table}[name](page, pages)
                    good[name] += 1
                except Error as error:
                    print(f"{name}: {str(error).splitlines()[0]}")
                page.close()
            browser.close()
    print(f"addresses: a run's curves in {good['run']} of {TIMES} tries, a sweep's trials in {good['table']}")


def main() -> None:
    """Measure and print."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    wanted = sys.argv[1:] or ["watch", "orders", "addresses"]
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if "watch" in wanted:
        with tempfile.TemporaryDirectory() as folder:
            watch(Path(folder))
    if "addresses" in wanted:
        with tempfile.TemporaryDirectory() as folder:
            addresses(Path(folder))
    for launcher in LAUNCHERS if "orders" in wanted else ():
        with tempfile.TemporaryDirectory() as folder:
            orders(Path(folder), launcher)


if __name__ == "__main__":
    main()
