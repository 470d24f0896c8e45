"""What works: each way that runs here is swept, killed with ``kill -9`` in the midst of a trial, and started again.

``python examples/compare/check.py [WAY …]`` prints a row for each way, from what MLflow's store holds afterwards.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run

HERE = Path(__file__).parent
EPOCHS, TRIALS, PATIENCE = 40, 8, 1200
COMMANDS = {
    "ours": [
        *("-m", "hydra/sweeper=optuna", "hydra/sweeper/pruner=median"),
        *("hydra/launcher=basic", f"hydra.sweeper.n_trials={TRIALS}"),
        *("lr=tag(log,interval(1e-4,1e-1))", "model.hidden=choice(16,32,64)", "hydra.sweeper.study_name=digits"),
    ],
    "ray_tune": ["--trials", str(TRIALS)],
    "optuna_hydra": [f"n_trials={TRIALS}"],
}


def runs(folder: Path) -> Sequence[Run]:
    """Every run of the folder's store; none while there is no store."""
    if not (folder / "mlflow.db").is_file():
        return []
    try:
        client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
        experiments = [found.experiment_id for found in client.search_experiments()]
        return list(client.search_runs(experiments))
    except Exception:  # a store that another process is making
        return []


def epochs(folder: Path, run: Run) -> list[int]:
    """The epochs that a run has a figure of, in the order of their recording."""
    history = MlflowClient(f"sqlite:///{folder}/mlflow.db").get_metric_history(run.info.run_id, "val/accuracy")
    return [point.step for point in sorted(history, key=lambda point: point.timestamp)]


def cut(folder: Path, process: "subprocess.Popen[bytes]") -> str:
    """Kill the process once a trial has ended and another is in its midst; returns the run of that one."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        children = [run for run in runs(folder) if "mlflow.parentRunId" in run.data.tags]
        ended = [run for run in children if run.info.status == "FINISHED"]
        midst = [run for run in children if run.info.status == "RUNNING" and len(epochs(folder, run)) >= 3]
        if ended and midst:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            return midst[0].info.run_id
        time.sleep(0.05)
    process.kill()
    raise SystemExit(f"{folder.name} ended, or took too long, before it could be killed")


def check(way: str) -> str:
    """A row of what works."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / way
        shutil.copytree(HERE / way, folder)
        config = folder / "conf" / "config.yaml"
        config.write_text(re.sub(r"epochs: \d+", f"epochs: {EPOCHS}", config.read_text()))
        line = [sys.executable, "train.py", *COMMANDS[way]]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(line, cwd=folder, stdout=log, stderr=log)
            run_id = cut(folder, process)
            time.sleep(10)  # who watches over the process has noticed
            status = subprocess.run(line, cwd=folder, stdout=log, stderr=log, check=False).returncode
        if status != 0:
            print((folder / "log").read_text()[-3000:], file=sys.stderr)
        found = runs(folder)
        children = [run for run in found if "mlflow.parentRunId" in run.data.tags]
        parents = {run.data.tags["mlflow.parentRunId"] for run in children}
        curves = {run.info.run_id: epochs(folder, run) for run in children}
        again = curves[run_id]
        whole = sum(len(set(curve)) == EPOCHS for curve in curves.values())
        short = len(curves) - whole
        states = sorted({run.info.status for run in found})
        recorded = f"{len(parents)} parent, {len(children)} children, {', '.join(states)}"
        cut_off = f"{len(set(again))} of {EPOCHS} epochs, {len(again) - len(set(again))} of them twice"
        return f"| {way} | {status} | {recorded} | {whole} whole, {short} cut short | {cut_off} |"


if __name__ == "__main__":
    print("| | exit status | runs in MLflow | curves | the trial that was killed, in its run |\n|---|---|---|---|---|")
    for name in sys.argv[1:] or COMMANDS:
        print(check(name), flush=True)
