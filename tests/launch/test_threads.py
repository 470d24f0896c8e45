"""Trials in threads of one process: honest Hydra jobs, each with its own folder, log, record and end."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch
from hydra import version
from hydra._internal.callbacks import Callbacks
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode
from omegaconf import OmegaConf

from rnn_sweep.application import HOOKS, train
from rnn_sweep.config import DataConfig
from rnn_sweep.data import Dataset, load
from rnn_sweep.errors import UserError
from rnn_sweep.launch.turns import Turns
from rnn_sweep.outcome import Outcome, State
from rnn_sweep.run.decorator import as_task
from rnn_sweep.run.job import Application
from rnn_sweep.sweep.pool import SubmittingLauncher, open_pool
from tests import warm
from tests.conftest import ROOT, Run, command

pytestmark = pytest.mark.slow

QUICK = ["data=digits", "data.limit=200", "model.hidden_dim=24", "optimizer.lr=0.001", "trainer.epochs=3"]
SMALL = [*QUICK, "tracking=off"]
LONG = ["data=digits", "model.hidden_dim=24", "trainer.epochs=2000"]

CURVES = ("train/loss", "train/accuracy", "val/loss", "val/accuracy", "lr", "grad_norm")

MakeLauncher = Callable[..., Launcher]


@pytest.fixture
def launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hydra_restore_singletons: None) -> Iterator[MakeLauncher]:
    """Set a launcher up over the training task as Hydra does for a multirun, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    monkeypatch.setattr(logging.getLogger(), "handlers", list(logging.getLogger().handlers))  # launchers set their own
    made: list[Launcher] = []

    def build(name: str = "threads", *overrides: str) -> Launcher:
        version.setbase("1.3")
        GlobalHydra.instance().clear()
        hydra = Hydra.create_main_hydra2("run", create_config_search_path(str(ROOT / "conf")))
        every = [f"hydra/launcher={name}", f"hydra.sweep.dir={tmp_path}/{name}", *overrides]
        config = hydra.compose_config("config", every, RunMode.MULTIRUN, with_log_configuration=False)
        context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks(config))
        made.append(Plugins.instance().instantiate_launcher(context, as_task(Application(train, None, HOOKS)), config))
        return made[-1]

    yield build
    for each in made:
        if isinstance(each, SubmittingLauncher):
            each.close(kill=True)


def launch(launcher: Launcher, *jobs: Sequence[str]) -> list[JobReturn]:
    return list(launcher.launch([[*SMALL, *job] for job in jobs], 0))


def outcome(job: JobReturn) -> Outcome:
    value = job.return_value
    assert isinstance(value, Outcome)
    return value


def assert_same_curves(together: Outcome, alone: Outcome) -> None:
    assert together.epochs == alone.epochs
    for ours, theirs in zip(together.history, alone.history, strict=True):
        for name in CURVES:
            assert ours[name] == theirs[name], name


@pytest.mark.parametrize(("cores", "n_jobs"), [(1, 1), (1, 2), (2, 3), (2, 4)])
def test_a_grid_is_what_hydras_own_launcher_makes_of_it(
    launcher: MakeLauncher, tmp_path: Path, cores: int, n_jobs: int
) -> None:
    """Folders, results and each bit of the curves: whoever is trained beside a job."""
    jobs = [
        ["seed=1"],
        ["seed=2", "optimizer=sgd", "trainer.epochs=8"],
        ["seed=3", "model=gru"],
        ["seed=4", "model.hidden_dim=16"],
        ["seed=5", "trainer.epochs=6"],
        ["seed=6", "trainer.epochs=1", "model.hidden_dim=20"],
        ["seed=7", "model=lstm", "model.layers=2", "model.dropout=0.2"],
        ["seed=8", "trainer.engine=torch"],
    ]
    threads = launcher("threads", f"trainer.threads={cores}", f"hydra.launcher.n_jobs={n_jobs}")
    threaded, basic = launch(threads, *jobs), launch(launcher("basic", f"trainer.threads={cores}"), *jobs)
    for number, (ours, theirs) in enumerate(zip(threaded, basic, strict=True)):
        assert_same_curves(outcome(ours), outcome(theirs))
        assert ours.status is JobStatus.COMPLETED
        assert (ours.cfg, ours.overrides) == (theirs.cfg, theirs.overrides)
        assert (ours.working_dir, ours.task_name) == (theirs.working_dir, theirs.task_name)
        mine, other = tmp_path / "threads" / str(number), tmp_path / "basic" / str(number)
        assert {path.name for path in mine.iterdir()} == {path.name for path in other.iterdir()}
        for name in ("config", "overrides"):
            assert (mine / f".hydra/{name}.yaml").read_text() == (other / f".hydra/{name}.yaml").read_text()
        node = OmegaConf.load(mine / ".hydra/hydra.yaml").hydra
        assert (node.job.num, node.job.id) == (number, f"run_{number}")
        assert node.runtime.output_dir == str(mine)
        assert ours.hydra_cfg is not None
        assert ours.hydra_cfg.hydra.runtime.output_dir == str(mine)
        result = json.loads((mine / "result.json").read_text())
        assert result["state"] == "complete"
        assert result["overrides"] == ours.overrides


def test_each_job_logs_to_its_own_file_and_logging_is_left_as_it_was(launcher: MakeLauncher, tmp_path: Path) -> None:
    root, ours = logging.getLogger(), logging.getLogger("rnn_sweep")
    threads = launcher()
    root.setLevel(logging.WARNING)  # as a sweep with a progress display does
    before = ours.level, ours.propagate, list(ours.handlers)
    launch(threads, ["seed=1"], ["seed=2", "trainer.epochs=2"])
    assert (ours.level, ours.propagate, list(ours.handlers)) == before
    for number, epochs in ((0, 3), (1, 2)):
        text = (tmp_path / f"threads/{number}/run.log").read_text()
        assert text.count("- epoch ") == epochs
        assert f"epoch {epochs}/{epochs}" in text
        assert f"folder:  {tmp_path}/threads/{number}" in text


def test_a_mistake_or_an_error_is_its_own_jobs(launcher: MakeLauncher, tmp_path: Path) -> None:
    (tmp_path / "threads/4").mkdir(parents=True)
    (tmp_path / "threads/4/checkpoint.pt").mkdir()  # so that the checkpoint cannot be written
    good, argument, data, diverged, disk, last = launch(
        launcher(),
        ["seed=1"],
        ["optimizer.betas=[2.0,0.9]"],
        ["data.batch_size=100000"],
        ["optimizer=sgd", "optimizer.lr=1e18", "trainer.clip_norm=null", "scheduler=none"],
        ["seed=5"],
        ["seed=6"],
    )
    assert [outcome(job).state for job in (good, last)] == [State.COMPLETE] * 2
    assert outcome(diverged).state is State.DIVERGED
    for job, words in ((argument, "betas"), (data, "data.batch_size")):
        assert job.status is JobStatus.FAILED
        with pytest.raises(UserError, match=words):
            _ = job.return_value
    assert disk.status is JobStatus.FAILED
    with pytest.raises(IsADirectoryError):
        _ = disk.return_value
    assert "IsADirectoryError" in (tmp_path / "threads/4/run.log").read_text()


def test_what_threads_cannot_train_runs_alone_and_the_log_says_why(
    launcher: MakeLauncher, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = launcher()
    launch(first, ["seed=1"])
    (tmp_path / "threads/0/result.json").unlink()  # as if killed after its last epoch
    resumed, other = first.launch([[f"trainer.resume={tmp_path}/threads/0"], [*SMALL, "seed=2"]], 1)
    assert (outcome(resumed).epochs, outcome(other).epochs) == (3, 3)
    assert "#1 runs alone: trainer.resume goes on with one run" in capsys.readouterr().out
    (moved,) = launch(launcher("threads", "hydra.job.chdir=true"), ["seed=1"])
    assert moved.working_dir == f"{tmp_path}/threads/0"
    assert outcome(moved).state is State.COMPLETE


def test_a_config_that_does_not_compose_fails_its_own_job(launcher: MakeLauncher) -> None:
    pool = open_pool(launcher(), 2)
    with pytest.raises(Exception, match="no_such_key"):
        pool.submit(["no_such_key=1"], 0).result()
    assert outcome(pool.submit(SMALL, 1).result()).epochs == 3


def test_an_error_of_the_launchers_own_leaves_no_job_waiting(
    launcher: MakeLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Turns) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Turns, "begin", broken)
    for job in launch(launcher(), ["seed=1"], ["seed=2"], ["seed=3"]):
        assert job.status is JobStatus.FAILED
        with pytest.raises(RuntimeError, match="a bug"):
            _ = job.return_value


def test_data_is_opened_once(launcher: MakeLauncher, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[DataConfig] = []

    def slow(config: DataConfig) -> Dataset:
        opened.append(config)
        time.sleep(0.1)
        return load(config)

    monkeypatch.setattr("rnn_sweep.data.load", slow)
    launch(launcher("threads", "hydra.launcher.n_jobs=4"), *[[f"seed={n}", "trainer.epochs=1"] for n in range(4)])
    assert len(opened) == 1


def test_closing_with_kill_interrupts_jobs_and_drops_who_waits(launcher: MakeLauncher, tmp_path: Path) -> None:
    pool = open_pool(launcher(), 2)
    running = [pool.submit([*LONG, f"seed={number}"], number) for number in range(2)]
    waiting = pool.submit(LONG, 2)
    log = tmp_path / "threads/1/run.log"
    while not (log.exists() and "epoch    3/2000" in log.read_text()):
        assert not running[1].done()
        time.sleep(0.05)
    pool.close(kill=True)
    assert [outcome(future.result()).state for future in running] == [State.INTERRUPTED] * 2
    assert waiting.cancelled()
    assert (tmp_path / "threads/0/checkpoint.pt").is_file()
    assert sorted(statuses(tmp_path)) == ["KILLED"] * 2


def statuses(folder: Path) -> list[str]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    return [found.info.status for found in client.search_runs([e.experiment_id for e in client.search_experiments()])]


def test_the_first_signal_lets_the_epoch_end_and_drops_who_waits(run: Run, tmp_path: Path) -> None:
    line = command("-m", "hydra/launcher=threads", "hydra.launcher.n_jobs=3", *LONG, "seed=range(0,5)")
    process = warm.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def far() -> bool:
        logs = list(tmp_path.glob("multirun/*/*/*/run.log"))
        return len(logs) == 3 and all("epoch    2/2000" in log.read_text() for log in logs)

    try:
        while not far():
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        text, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, text
    assert "Traceback" not in text
    results = [json.loads(path.read_text()) for path in tmp_path.glob("multirun/*/*/*/result.json")]
    assert [result["state"] for result in results] == ["interrupted"] * 3
    assert statuses(tmp_path) == ["KILLED"] * 4  # the grid's own run among them
    folder = next(tmp_path.glob("multirun/*/*/0"))
    assert (folder / "checkpoint.pt").is_file()


def test_a_grid_of_seeds_is_recorded_run_by_run(run: Run, tmp_path: Path) -> None:
    done = run("-m", "hydra/launcher=threads", *QUICK, "seed=range(0,16)")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("complete after 3 epochs") == 16
    assert statuses(tmp_path) == ["FINISHED"] * 17
    results = [json.loads(path.read_text()) for path in tmp_path.glob("multirun/*/*/*/result.json")]
    assert len({result["run_id"] for result in results}) == 16
    assert len({result["metrics"]["val/loss"] for result in results}) == 16


def test_a_study_prunes_jobs(run: Run, tmp_path: Path) -> None:
    done = run(
        "-m",
        "hydra/launcher=threads",
        "hydra/sweeper=optuna",
        "hydra.sweeper.n_jobs=3",
        "hydra.sweeper.n_trials=6",
        "hydra/sweeper/pruner=threshold",
        "hydra.sweeper.pruner.lower=2.0",  # no accuracy reaches it
        "optimizer.lr=interval(0.001,0.002)",
        *[each for each in QUICK if not each.startswith("optimizer.lr")],
    )
    assert "6 pruned" in done.stdout, done.stdout + done.stderr
    results = [json.loads(path.read_text()) for path in tmp_path.glob("multirun/*/*/*/result.json")]
    assert [(result["state"], result["epochs"]) for result in results] == [("pruned", 1)] * 6


def test_a_killed_grid_leaves_runs_that_go_on(run: Run, tmp_path: Path) -> None:
    job = [*QUICK, "trainer.epochs=30"]
    line = command("-m", "hydra/launcher=threads", *job, "seed=1,2")
    process = warm.Popen(line, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while len(list(tmp_path.glob("multirun/*/*/*/checkpoint.pt"))) < 2:
            assert process.poll() is None
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    (folder,) = tmp_path.glob("multirun/*/*/1")
    done = run(f"trainer.resume={folder}")
    assert done.returncode == 0, done.stderr
    whole = run(*job, "seed=2", "hydra.run.dir=whole")
    assert whole.returncode == 0, whole.stderr
    went_on, once = [json.loads((path / "result.json").read_text()) for path in (folder, tmp_path / "whole")]
    assert went_on["engine"] == once["engine"]
    for ours, theirs in zip(went_on["history"], once["history"], strict=True):
        assert [ours[name] for name in CURVES] == [theirs[name] for name in CURVES]


def test_the_former_names_are_told(run: Run) -> None:
    done = run("-m", "hydra/launcher=fused", *SMALL)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("hydra/launcher=fused is now called hydra/launcher=threads") == 1
    done = run("-m", "hydra.launcher.lanes=4", *SMALL)
    assert done.returncode != 0
    assert "hydra.launcher.lanes is now hydra.launcher.n_jobs" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_number_of_jobs_below_one_is_refused(run: Run) -> None:
    done = run("-m", "hydra/launcher=threads", "hydra.launcher.n_jobs=0", *SMALL)
    assert done.returncode != 0
    assert "hydra.launcher.n_jobs" in done.stderr
