"""A real sweep of the training task, faults done to it, and what must be true of it afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import psutil
from optuna.trial import FrozenTrial, TrialState

from rnn_sweep.storage import open_storage
from tests import warm
from tests.conftest import ROOT
from tests.integration.conftest import close

if TYPE_CHECKING:
    from mlflow import MlflowClient

ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
EPOCHS = 6

SPACE = [
    *("hydra.sweeper.params={optimizer.lr:'tag(log,interval(1e-4,1e-1))'}", "hydra.sweeper.conditions=null"),
    "hydra.sweeper.report=false",
]


def settings(epochs: int = EPOCHS, limit: int = 300) -> list[str]:
    """Of a small run on the digits: a fraction of a second, unless it has very many epochs."""
    data = ["experiment=smoke", f"data.limit={limit}"]
    return [*data, "model.hidden_dim=8", f"trainer.epochs={epochs}", "trainer.threads=1"]


SMALL = [*settings(), *SPACE]
STUBBORN = [f"hydra.sweeper.retries.{cause}=99" for cause in ("orphaned", "worker_died", "interrupted")]
"""A suite kills the same trial more often than the defaults put up with."""


@dataclass
class Campaign:
    """One study in one folder, whatever happens to its sweepers."""

    folder: Path
    app: Path = ROOT / "run.py"
    name: str = "k"
    storage: str = ""
    tracking: str = ""
    """Address of MLflow's server; the folder's own database where empty."""
    started: list[subprocess.Popen[str]] = field(default_factory=list)
    logs: dict[int, Path] = field(default_factory=dict)
    known: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    """Trials that had ended when somebody looked: what was known of them then."""

    @property
    def url(self) -> str:
        """The study's storage."""
        return self.storage or f"journal://{self.folder}/studies/{self.name}.journal"

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """Start a sweeper on the study, in a process group of its own."""
        storage = [f"hydra.sweeper.storage={self.storage}"] if self.storage else []
        study = [
            "hydra/sweeper=optuna",
            "hydra.sweeper.report=false",
            f"hydra.sweeper.study_name={self.name}",
            *storage,
        ]
        return self.launch("-m", *study, *arguments, **env)

    def launch(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """Start the program with nothing added, in a process group of its own."""
        line = [sys.executable, str(self.app), *arguments]
        path = self.folder / f"sweeper-{len(self.started)}.log"
        with path.open("w") as log:
            process = warm.Popen(
                line,
                cwd=self.folder,
                env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **env},
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self.started.append(process)
        self.logs[process.pid] = path
        return process

    def finish(self, process: subprocess.Popen[str], status: int = 0, seconds: float = 600) -> str:
        """Wait for a sweeper's end, check its exit status, and return what it printed."""
        process.wait(seconds)
        text = self.output(process)
        assert process.returncode == status, text
        return text

    def output(self, process: subprocess.Popen[str]) -> str:
        """What a sweeper printed so far."""
        return self.logs[process.pid].read_text()

    def end(self) -> None:
        """Kill what still runs."""
        for process in self.started:
            if process.poll() is None:
                kill(process)

    def trials(self) -> list[FrozenTrial]:
        """The study's trials as they are stored now; none before there is a study."""
        with self._looking() as look:
            return look()

    def wait_for(self, process: subprocess.Popen[str], condition: Callable[[list[FrozenTrial]], Any]) -> bool:
        """Wait until ``condition`` of the trials is true; False when the sweeper ended before."""
        with self._looking() as look:
            while process.poll() is None:
                if condition(look()):
                    return True
                time.sleep(0.05)
        return False

    @contextlib.contextmanager
    def _looking(self) -> Iterator[Callable[[], list[FrozenTrial]]]:
        """Trials at any moment; what is read of a long study is read once."""
        path = Path(self.url.partition("://")[2].replace("//", "/"))
        server = self.url.startswith("postgresql")
        found: list[optuna.Study] = []
        with contextlib.ExitStack() as stack:

            def look() -> list[FrozenTrial]:
                if not found and (server or path.exists()):
                    storage = open_storage(self.url)
                    if server:
                        stack.callback(close, storage)
                    with contextlib.suppress(KeyError):
                        found.append(optuna.load_study(study_name=self.name, storage=storage))
                return found[0].get_trials(deepcopy=False) if found else []

            yield look

    def wait_for_another(self, process: subprocess.Popen[str]) -> None:
        """Wait until one more trial has ended than now."""
        ended = sum(t.state.is_finished() for t in self.trials())
        self.wait_for(process, lambda trials: sum(t.state.is_finished() for t in trials) > ended)

    def note(self) -> int:
        """Remember the trials that have ended, and check that those known before are as they were; returns how many."""
        now = {t.number: (t.state, t.params, t.values) for t in self.trials() if t.state in ENDED}
        assert self.known.items() <= now.items(), "a finished trial was lost or changed"
        self.known = now
        return len(now)

    def client(self) -> MlflowClient:
        """Of the MLflow store."""
        from mlflow import MlflowClient

        return MlflowClient(self.tracking or f"sqlite:///{self.folder}/mlflow.db")

    def runs(self) -> list[Any]:
        """All runs in the folder's MLflow store."""
        client = self.client()
        return list(client.search_runs([e.experiment_id for e in client.search_experiments()], max_results=1000))


def kill(process: subprocess.Popen[str]) -> None:
    """``kill -9`` the process alone: its workers must find out by themselves. Returns when it is gone."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def worker_processes(sweeper: psutil.Process) -> list[psutil.Process]:
    """The worker processes of a sweeper."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in sweeper.children():
            with contextlib.suppress(psutil.NoSuchProcess):  # also raised for one that nobody has waited for yet
                found += (
                    [child] if any(word.endswith("loky.backend.popen_loky_posix") for word in child.cmdline()) else []
                )
    return found


def seeded(name: str) -> random.Random:
    """Chance that is the same each time; processes are not, so a moment never comes back exactly."""
    return random.Random(name)


def pause(chance: random.Random, most: float) -> None:
    """Wait for a random time, in seconds."""
    time.sleep(chance.uniform(0, most))


def check_whole(campaign: Campaign, n_trials: int, epochs: int = EPOCHS) -> None:
    """What must be true at the end: see the messages."""
    campaign.note()
    trials = campaign.trials()
    by_number = {t.number: t for t in trials}
    states = Counter(t.state for t in trials)
    assert not states[TrialState.RUNNING], "a trial is left RUNNING"
    assert not states[TrialState.WAITING], "a trial is left WAITING"
    ended = [t for t in trials if t.state in ENDED]
    failed = {t.number: t.user_attrs.get("failure") for t in trials if t.state is TrialState.FAIL}
    assert len(ended) == n_trials, f"{len(ended)} trials have ended instead of {n_trials}; failed: {failed}"
    again = Counter(t.user_attrs["retry_of"] for t in trials if "retry_of" in t.user_attrs)
    for trial in trials:
        if trial.state is TrialState.FAIL:
            assert again[trial.number] == 1, f"trial {trial.number} was tried again {again[trial.number]} times"
        else:
            assert not again[trial.number], f"trial {trial.number} had ended and was tried again"
        if "retry_of" in trial.user_attrs:
            first = by_number[trial.user_attrs["retry_of"]].params
            both = first.keys() & trial.params.keys()  # either may have been killed before it had all of them
            same = all(trial.params[key] == first[key] for key in both)
            assert same, f"trial {trial.number} has other parameters than trial {trial.user_attrs['retry_of']}"
            assert both == first.keys() or trial.number in failed, f"trial {trial.number} has fewer parameters"
    check_records(campaign, ended, epochs)


def check_records(campaign: Campaign, ended: Sequence[FrozenTrial], epochs: int) -> None:
    """MLflow has every trial once, closed, with its whole curve and its weights; nothing else is open."""
    client = campaign.client()
    runs = {run.info.run_id: run for run in campaign.runs()}
    assert not [r for r in runs.values() if r.info.status == "RUNNING"], "a run is left RUNNING in MLflow"
    parents = [r for r in runs.values() if "mlflow.parentRunId" not in r.data.tags]
    assert [r.info.status for r in parents] == ["FINISHED"], "the sweep is one parent run"
    finished = [r for r in runs.values() if r.info.status == "FINISHED" and r is not parents[0]]
    numbers = sorted(int(r.data.tags["trial.number"]) for r in finished)
    expected = sorted(t.number for t in ended)
    assert numbers == expected, f"{numbers} have run to their end, {expected} have ended"
    by_number = {int(r.data.tags["trial.number"]): r for r in finished}
    for trial in ended:
        run = by_number[trial.number]
        assert trial.user_attrs.get("run_id", run.info.run_id) == run.info.run_id  # none where the store was away
        if trial.state is not TrialState.COMPLETE:
            continue
        points = client.get_metric_history(run.info.run_id, "val/accuracy")
        assert sorted(p.step for p in points) == list(range(1, epochs + 1)), f"trial {trial.number}: holes in its curve"
        assert sorted(trial.intermediate_values) == list(range(1, epochs + 1))
        folder = Path(run.data.tags["output_dir"])
        assert json.loads((folder / "result.json").read_text())["state"] == "complete"
        kept = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert {"weights.safetensors", "result.json", "curves.png"} <= kept, f"trial {trial.number}: files are missing"
