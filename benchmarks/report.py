"""What is looked at after a sweep of 1,000 trials: its report, its record in MLflow, its page in the UI.

    python benchmarks/report.py [trials]

Prints the seconds and megabytes of ``report.html`` with its pictures (wanted: 10 s, 5 MB), what recording a trial as
a child of its sweep costs beyond the run itself (wanted: 15 ms a trial, 10 ms an epoch), and the seconds until the
experiment's page shows its runs in Chromium (wanted: 5 s; left out where there is no browser).
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import optuna
from mlflow.entities import Metric, Param

from rnn_sweep import tracking
from rnn_sweep.config import TrackingConfig
from rnn_sweep.outcome import State
from rnn_sweep.report.write import write
from rnn_sweep.storage import open_storage
from rnn_sweep.sweep.results import Command
from rnn_sweep.tracking import sweep_runs
from rnn_sweep.tracking.store import open_store
from rnn_sweep.trial import PRUNER_ATTR, Reporter

EPOCHS = 10
CURVES = {f"{part}/{what}": 0.5 for part in ("train", "val") for what in ("loss", "accuracy")} | {"lr": 1e-3}
PORT = 5731
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


def clock(call: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - start)


def make_study(url: str, trials: int) -> optuna.Study:
    """A study with four parameters, of whose trials a median pruner stops the worse half or more."""
    study = optuna.create_study(
        study_name="thousand",
        storage=open_storage(url),
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(seed=1),
        pruner=optuna.pruners.MedianPruner(),
    )

    def objective(trial: optuna.Trial) -> float:
        hidden = trial.suggest_categorical("model.hidden_dim", [32, 64, 128])
        layers = trial.suggest_int("model.layers", 1, 2)
        lr = trial.suggest_float("optimizer.lr", 1e-4, 1e-2, log=True)
        best = 0.9 + 8 * lr - 700 * lr * lr + hidden / 4000 + layers / 300
        for epoch in range(1, EPOCHS + 1):
            trial.report(best * (1 - 0.6**epoch) - 0.01 * ((trial.number * epoch) % 3), epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return best

    study.optimize(objective, n_trials=trials)
    return study


def bookkeeping(url: str, config: TrackingConfig) -> tuple[float, float]:
    """Milliseconds that a child run and its notes cost beyond a plain run, and those of an epoch: curves and report."""
    study = optuna.create_study(study_name="notes", storage=open_storage(url), direction="maximize")
    study.set_user_attr(PRUNER_ATTR, json.dumps({"_target_": "optuna.pruners.MedianPruner"}))
    parent = tracking.start_run(config, tracking.Opening(params={}, overrides=[], output_dir=Path("out"))).run_id

    def open_run(parent_run_id: str | None, tags: dict[str, str]) -> tracking.Run:
        opening = tracking.Opening(
            params={"seed": 1},
            overrides=["seed=1"],
            output_dir=Path("out"),
            parent_run_id=parent_run_id,
            tags=tags,
        )
        return tracking.start_run(config, opening)

    extra, epochs = [], []
    for _ in range(30):
        number = study.ask().number
        plain = clock(lambda: open_run(None, {}))
        runs: list[tracking.Run] = []
        tags = {"trial.study_name": "notes", "trial.number": str(number)}
        child = clock(lambda own=tags, to=runs: to.append(open_run(parent, own)))
        reporter = Reporter({"study_name": "notes", "storage": url, "number": number})
        reporter.note("warm", 1)
        notes = clock(
            lambda r=reporter: (r.note("run_id", "a" * 32), r.note("folder", "out"), r.note("state", "complete"))
        )
        extra.append(child - plain + notes)
        epochs += [
            clock(lambda r=reporter, run=runs[0], e=e: (run.log_epoch(e, CURVES), r.report(e, 0.5)))
            for e in range(1, EPOCHS + 1)
        ]
        runs[0].finish(State.COMPLETE, {}, (), ())
        study.tell(number, 0.5)
    return statistics.median(extra), statistics.median(epochs)


def fill_store(config: TrackingConfig, trials: int) -> None:
    """A parent run with ``trials`` children that have curves."""
    client, now = open_store(config).client, time.time_ns() // 1_000_000
    opening = tracking.Opening(params={}, overrides=[], output_dir=Path("out"), run_name="thousand")
    parent = tracking.start_run(config, opening)
    experiment = client.get_run(str(parent.run_id)).info.experiment_id
    for number in range(trials):
        tags = {"mlflow.parentRunId": str(parent.run_id), "state": "complete"}
        run_id = client.create_run(experiment, run_name=f"trial {number}", tags=tags).info.run_id
        curve = [Metric("val/loss", 1 / epoch, now, epoch) for epoch in range(1, EPOCHS + 1)]
        client.log_batch(run_id, curve, [Param("optimizer.lr", str(number / trials))])
        client.set_terminated(run_id)
    parent.finish(State.COMPLETE, {}, (), ())


def page_load(browser: str, folder: Path, experiment: str) -> float:
    """Seconds from asking for the experiment's runs until the sweep stands there; the second of two visits."""
    from playwright.sync_api import sync_playwright

    command = [sys.executable, "-m", "mlflow", "ui", "--port", str(PORT), "--workers", "1"]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(executable_path=browser, args=FLAGS)
            for _ in range(2):
                page = chromium.new_page()
                for _ in range(120):
                    try:
                        page.goto(f"http://127.0.0.1:{PORT}/health")
                        break
                    except Exception:  # the server is not up yet
                        time.sleep(0.5)
                start = time.perf_counter()
                page.goto(f"http://127.0.0.1:{PORT}/#/experiments/{experiment}/runs?workflowType=machine_learning")
                page.get_by_role("link", name="thousand").first.wait_for(timeout=120_000)
                seconds = time.perf_counter() - start
                page.close()
            chromium.close()
    finally:
        server.terminate()
        server.wait()
    return seconds


def main(trials: int) -> None:
    """Measure and print."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        folder, url, config = Path(name), f"journal://{name}/studies/thousand.journal", TrackingConfig()
        study = make_study(url, trials)
        command = Command(["-m", "hydra/sweeper=optuna"], ["python", "run.py"])
        seconds = clock(lambda: write(study, folder / "report", command, url)) / 1e3
        size = (folder / "report" / "report.html").stat().st_size / 1e6
        print(f"report of {trials} trials with its pictures: {seconds:.1f} s, {size:.1f} MB   (wanted: 10 s, 5 MB)")
        tracking.check(config)
        trial, epoch = bookkeeping(f"journal://{name}/studies/notes.journal", config)
        print(f"a child run and its notes beyond a plain run: {trial:.1f} ms; an epoch: {epoch:.1f} ms   (15, 10)")
        parent = str(tracking.start_run(config, tracking.Opening(params={}, overrides=[], output_dir=folder)).run_id)
        files = [folder / "report" / "report.html"]
        end = clock(lambda: sweep_runs.annotate(config, parent, metrics={"a": 1.0}, tags={"b": "c"}, files=files))
        print(f"the sweep's own record at its end: {end:.0f} ms")
        browser = shutil.which("chromium") or shutil.which("google-chrome")
        if browser is not None:
            fill_store(config, trials)
            print(f"experiment page with {trials} trials: {page_load(browser, folder, '1'):.1f} s   (wanted: 5)")
        os.chdir("/")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
