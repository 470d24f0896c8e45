"""Population-based training: ``hydra/sweeper=pbt``, and its winner's schedule replayed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

import hydra_plugins.rnn_sweep_pbt.sweeper  # noqa: F401 - registers the group
from rnn_sweep import Hooks
from rnn_sweep.run.decorator import as_task
from rnn_sweep.run.job import Application
from rnn_sweep.sweep import lineage
from rnn_sweep.sweep.evolution import Evolution
from rnn_sweep.sweep.population import Population, draw, perturbed, repeats, segments
from rnn_sweep.sweep.space.grammar import choice
from rnn_sweep.sweep.space.parameters import Param, Space
from tests import warm
from tests.sweep.inprocess import Ended, InProcess, Killed

NODE = {
    "lr": 0.5,
    "width": 2,
    "epochs": 6,
    "seed": 1,
    "objective": "score",
    "schedule": None,
    "tracking": {"enabled": False},
    "trial": None,
}
HOW = ["hydra/sweeper=pbt", "hydra.sweeper.population=4", "hydra.sweeper.interval=2", "hydra.sweeper.sampler.seed=3"]
SPACE = ["lr=interval(0,1)", "width=choice(1,2,3)"]
HOOKS = Hooks(further=("epochs",), mutable=("lr",), schedule="schedule")


class Climb:
    """A training function whose score grows by what it was trained with; notes that in what it keeps."""

    def __init__(self) -> None:
        self.event: Any = None

    def __call__(self, cfg: Any, run: Any) -> None:
        trained = run.keep([], "trained")
        for epoch in run.epochs(cfg.epochs):
            trained.append([cfg.width, cfg.lr])
            if self.event is not None:
                self.event(run, epoch)
            run.log({"score": sum(width * (1 - abs(lr - 0.3)) for width, lr in trained)})


CLIMB = Climb()


def climb(cfg: Any, run: Any) -> None:
    CLIMB(cfg, run)


@pytest.fixture(autouse=True)
def calm() -> Iterator[None]:
    yield
    CLIMB.event = None


def task(hooks: Hooks = HOOKS) -> Any:
    return as_task(Application(climb, None, hooks))


def pbt(in_process: InProcess, *arguments: str, name: str = "s", node: Any = NODE, hooks: Hooks = HOOKS) -> Ended:
    own = ["hydra.sweeper.report=false", f"hydra.sweep.dir={name}", f"hydra.sweeper.study_name={name}"]
    return in_process.run(task(hooks), node, "-m", *HOW, *own, *arguments)


def told(study: optuna.Study) -> dict[tuple[int, int], Any]:
    """What each segment was, but for the numbers of trials."""
    known = segments(study.trials)
    by_number = {t.number: t for t in study.trials}

    def origin(trial: FrozenTrial) -> Any:
        source = trial.user_attrs["segment"]["source"]
        return None if source is None else by_number[source].user_attrs["segment"]["member"]

    return {key: (t.state.name, t.params, t.values, origin(t)) for key, t in known.items()}


def history(folder: Path) -> Any:
    return json.loads((folder / "result.json").read_text())["history"]


def test_a_population_copies_its_better_members_and_its_winner_is_replayed(in_process: InProcess) -> None:
    ended = pbt(in_process, *SPACE)
    assert ended.status == 0, ended
    trials = in_process.study().trials
    assert len(trials) == 12, "population times epochs / interval"
    assert sorted(segments(trials)) == [(m, g) for m in range(4) for g in range(3)]
    copies = [t for t in trials if lineage.is_copy(t)]
    assert copies
    for trial in copies:
        source = trials[trial.user_attrs["segment"]["source"]]
        assert source.user_attrs["segment"]["until"] == trial.user_attrs["segment"]["start"]
        assert trial.params["width"] == source.params["width"], "what cannot change comes with the weights"
        assert trial.params["lr"] != source.params["lr"]
        assert trial.user_attrs["segment"]["copied"] == source.user_attrs["segment"]["member"]
    for trial in trials:
        line = lineage.line_of(trial, trials)
        wanted = [t.params["lr"] for t in line for _ in range(2)]
        assert [row["param/lr"] for row in history(in_process.folder / "s" / str(trial.number))] == wanted
        assert sorted(trial.intermediate_values) == [len(wanted) - 1, len(wanted)], "its own epochs only"
    winner = copies[-1]
    config = {key: value for key, value in NODE.items() if key not in ("trial", "tracking")}
    found = yaml.safe_load((in_process.folder / "s" / "schedule.yaml").read_text())
    assert found["config"].keys() == config.keys()
    assert "schedule=s/schedule.yaml" in ended.out
    # The latest copy's, for its rate has changed on the way.
    file = {"config": {**found["config"], "width": winner.params["width"]}}
    file["segments"] = lineage.schedule(winner, trials)
    (in_process.folder / "file.yaml").write_text(yaml.safe_dump(file))
    again = in_process.run(task(), NODE, "schedule=file.yaml", "hydra.run.dir=again")
    assert again.status == 0, again
    assert history(in_process.folder / "again") == history(in_process.folder / "s" / str(winner.number))


def test_a_replay_that_was_killed_goes_on_in_its_folder(in_process: InProcess) -> None:
    rows = [{"until": 2, "set": {"lr": 0.1}}, {"until": 5, "set": {"lr": 0.4}}]
    (in_process.folder / "f.yaml").write_text(yaml.safe_dump({"config": {"width": 3}, "segments": rows}))

    def replay(folder: str) -> Ended:
        return in_process.run(task(), NODE, "schedule=f.yaml", f"hydra.run.dir={folder}")

    replay("whole")
    for epoch in (2, 3, 5):
        CLIMB.event = dies_at(epoch)
        with pytest.raises(Killed):
            replay(f"cut{epoch}")
        CLIMB.event = None
        assert replay(f"cut{epoch}").status == 0
        assert history(in_process.folder / f"cut{epoch}") == history(in_process.folder / "whole")
    assert [row["param/lr"] for row in history(in_process.folder / "whole")] == [0.1, 0.1, 0.4, 0.4, 0.4]


def dies_at(wanted: int, times: int = 1) -> Any:
    left = [times]

    def event(run: Any, epoch: int) -> None:
        if epoch == wanted and left[0]:
            left[0] -= 1
            raise Killed

    return event


@pytest.mark.slow
def test_a_sweep_that_was_killed_goes_on_to_the_same_population(in_process: InProcess) -> None:
    line = [*SPACE, "epochs=4"]
    pbt(in_process, *line, name="whole")
    for epoch in (1, 3):
        CLIMB.event = dies_at(epoch)
        with pytest.raises(Killed):
            pbt(in_process, *line, name=f"cut{epoch}")
        CLIMB.event = None
        assert pbt(in_process, *line, name=f"cut{epoch}").status == 0
        assert told(in_process.study(f"cut{epoch}")) == told(in_process.study("whole"))
    assert "nothing to run" in pbt(in_process, *line, name="cut3").out


def test_a_member_that_fails_or_diverges_copies_another(in_process: InProcess) -> None:
    def event(run: Any, epoch: int) -> None:
        segment = run.trial["segment"]
        if segment["member"] == 0 and epoch == 1:
            raise ValueError("too wide")
        if segment["member"] == 1 and epoch == 3:
            run.end("diverged")

    CLIMB.event = event
    ended = pbt(in_process, *SPACE, "hydra.sweeper.max_failure_rate=1")
    found = told(in_process.study())
    assert ended.status == 0, ended
    assert len(found) == len(in_process.study().trials) == 12
    assert (found[0, 0][0], found[1, 1][0]) == ("FAIL", "PRUNED")
    assert found[0, 1][3] in (1, 2, 3)
    assert found[1, 2][3] in (0, 2, 3)
    assert {found[m, 2][0] for m in range(4)} == {"COMPLETE"}


def test_a_population_that_dies_out_ends(in_process: InProcess) -> None:
    def event(run: Any, epoch: int) -> None:
        raise ValueError("never")

    CLIMB.event = event
    ended = pbt(in_process, *SPACE, "hydra.sweeper.max_failure_rate=1")
    assert ended.status == 1
    assert "ended early: the population has died out" in ended.out
    assert len(in_process.study().trials) == 4


def test_a_checkpoint_that_is_gone_fails_the_segment_and_is_no_new_beginning(in_process: InProcess) -> None:
    def event(run: Any, epoch: int) -> None:
        if epoch == 2 and run.trial["segment"]["member"] == 3:
            (run.folder.parent / "0" / "checkpoint.pt").unlink(missing_ok=True)

    CLIMB.event = event
    pbt(in_process, *SPACE, "hydra.sweeper.quantile=0")
    failed = [t for t in in_process.study().trials if t.state is TrialState.FAIL]
    assert [t.user_attrs["segment"]["member"] for t in failed] == [0]
    assert "there is no checkpoint.pt" in failed[0].user_attrs["cause"]


def test_points_come_first(in_process: InProcess) -> None:
    pbt(in_process, *SPACE, "hydra.sweeper.enqueue=[{lr: 0.9}]")
    first = [in_process.study().trials[i].params for i in range(4)]
    assert first[0] == {"lr": 0.5, "width": 2}
    assert first[1]["lr"] == 0.9
    assert len({json.dumps(params) for params in first}) == 4


def test_a_dry_run_shows_the_members_and_makes_nothing(in_process: InProcess) -> None:
    shown = pbt(in_process, *SPACE, "hydra.sweeper.dry_run=true", "hydra.sweeper.enqueue=[{lr: 0.9}]")
    assert "trial 1: lr=0.9" in shown.out
    assert not list(in_process.folder.iterdir())
    pbt(in_process, *SPACE, "hydra.sweeper.enqueue=[{lr: 0.9}]", "hydra.sweeper.interval=6")
    for trial in in_process.study().trials:
        assert f"trial {trial.number}: {' '.join(trial.user_attrs['overrides'])}\n" in shown.out


OWN = Hooks()
REFUSED = [
    (["width=1,2"], HOOKS, "hydra/sweeper=pbt has nothing to change: none of width is one of lr"),
    (["width=1,2"], OWN, "hydra.sweeper.epochs must be the number of epochs of a run"),
    (
        ["width=1,2", "hydra.sweeper.epochs=6"],
        OWN,
        "hydra.sweeper.mutable must name parameters that may change while a network is trained, such as the learning",
    ),
    ([*SPACE, "hydra.sweeper.mutable=[width]"], HOOKS, "hydra.sweeper.mutable: this application can change lr of a"),
    ([*SPACE, "hydra.sweeper.mutable=[l]"], HOOKS, "hydra.sweeper.mutable: l is not searched; did you mean 'lr'"),
    ([*SPACE, "hydra.sweeper.mutable=lr"], HOOKS, "hydra.sweeper.mutable must be a list of searched keys, or null"),
    ([*SPACE, "hydra.sweeper.interval=9"], HOOKS, "hydra.sweeper.interval must divide the 6 epochs of a run, got 9"),
    ([*SPACE, "hydra.sweeper.interval=4"], HOOKS, "hydra.sweeper.interval must divide the 6 epochs of a run, got 4"),
    ([*SPACE, "hydra.sweeper.interval=0"], HOOKS, "hydra.sweeper.interval must be an integer of at least 1, got 0"),
    ([*SPACE, "hydra.sweeper.population=3"], HOOKS, "hydra.sweeper.population must be an integer of at least 4, got 3"),
    ([*SPACE, "hydra.sweeper.quantile=0.6"], HOOKS, "hydra.sweeper.quantile must be a number from 0 to 0.5, got 0.6"),
    ([*SPACE, "hydra.sweeper.perturb=[]"], HOOKS, "hydra.sweeper.perturb must be a list of factors above 0 such as"),
    ([*SPACE, "hydra.sweeper.perturb=[0]"], HOOKS, "hydra.sweeper.perturb must be a list of factors above 0 such as"),
    ([*SPACE, "hydra.sweeper.resample_probability=2"], HOOKS, "hydra.sweeper.resample_probability must be a number"),
    ([*SPACE, "epochs=6,12"], HOOKS, "epochs cannot be searched by hydra/sweeper=pbt"),
    ([*SPACE, "+hydra.sweeper.n_trials=7"], HOOKS, "hydra.sweeper.n_trials is no setting of hydra/sweeper=pbt: its"),
    (
        [*SPACE, "+hydra.sweeper.learn_from=[a]"],
        HOOKS,
        "hydra.sweeper.learn_from is no setting of hydra/sweeper=pbt: l",
    ),
    ([*SPACE, "hydra/sweeper/sampler=tpe"], HOOKS, "hydra/sweeper=pbt draws its first members: hydra/sweeper/sampler"),
    (
        [*SPACE, "+hydra.sweeper.conditions={width: 'lr=interval(0,0.5)'}"],
        HOOKS,
        "hydra.sweeper.conditions.width: lr changes while it is trained, got a condition",
    ),
    (
        [*SPACE, "hydra.sweeper.enqueue=[{lr: 0.1},{lr: 0.2},{lr: 0.3},{lr: 0.4}]"],
        HOOKS,
        "hydra.sweeper.population=4 must be at least the number of points to begin at",
    ),
    (
        [*SPACE, "hydra.sweeper.direction=[minimize,maximize]", "objective=[score,x]"],
        HOOKS,
        "pbt compares members by one objective",
    ),
]


@pytest.mark.parametrize(("line", "hooks", "message"), REFUSED)
def test_what_does_not_fit_is_one_message(in_process: InProcess, line: list[str], hooks: Hooks, message: str) -> None:
    before = set(in_process.folder.rglob("*"))
    ended = pbt(in_process, *line, hooks=hooks)
    assert ended.status == 2, ended
    assert message in ended.err
    assert len(ended.err.strip().splitlines()) == 1, ended.err
    assert set(in_process.folder.rglob("*")) == before


def test_an_application_without_runs_is_refused(in_process: InProcess) -> None:
    ended = in_process.run(lambda cfg: 1.0, NODE, "-m", *HOW, *SPACE)
    assert ended.status == 2
    assert "hydra.sweeper=pbt needs a training function under rnn_sweep.main" in ended.err


def test_a_study_stays_what_it_is(in_process: InProcess) -> None:
    pbt(in_process, *SPACE, "hydra.sweeper.interval=6")
    changed = pbt(in_process, *SPACE, "hydra.sweeper.population=5", "hydra.sweeper.interval=6")
    assert "hydra.sweeper.population cannot change: the study 's' has 4, got 5" in changed.err
    other = in_process.search(task(), NODE, *SPACE)
    assert "hydra/sweeper cannot change: the study 's' is a population" in other.err


SEGMENTS: Any = [{"until": 2, "set": {"lr": 0.1}}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "schedule must be a schedule file, got 'f.yaml': No such file or directory"),
        ("[", "schedule must be a schedule file, got 'f.yaml': while parsing"),
        ({"segments": SEGMENTS}, "schedule must be a schedule file with config and segments, got 'f.yaml'"),
        ({"config": {}, "segments": []}, "schedule=f.yaml: segments must be a list such as"),
        ({"config": {}, "segments": [{"until": 2}]}, "schedule=f.yaml: segments must be a list such as"),
        ({"config": {}, "segments": SEGMENTS * 2}, "until must rise from 1 on, got 2 after 2"),
        ({"config": {"epochs": 1}, "segments": SEGMENTS}, "schedule goes on until epoch 2, more than epochs=1"),
        ({"config": {}, "segments": [{"until": 2, "set": {"l": 1}}]}, "schedule: l is not in the configuration; did"),
        (
            {"config": {}, "segments": [{"until": 2, "set": {"width": 1}}]},
            "schedule can change lr while a network is trained, got width",
        ),
        ({"config": {"seed": "x"}, "segments": SEGMENTS}, "schedule=f.yaml does not fit: seed must be an integer"),
    ],
)
def test_a_schedule_that_does_not_fit_is_one_message(in_process: InProcess, content: Any, message: str) -> None:
    if content is not None:
        text = content if isinstance(content, str) else yaml.safe_dump(content)
        (in_process.folder / "f.yaml").write_text(text)
    ended = in_process.run(task(), NODE, "schedule=f.yaml", "hydra.run.dir=out")
    assert ended.status == 2, ended
    assert message in ended.err
    assert len(ended.err.strip().splitlines()) == 1, ended.err
    assert not (in_process.folder / "out" / "checkpoint.pt").exists()


# The controller by itself.

PARAMS = {
    "lr": Param("lr", FloatDistribution(1e-4, 1, log=True)),
    "n": Param("n", IntDistribution(1, 9)),
}


def evolution(**changes: Any) -> Evolution:
    known: dict[str, Any] = {"population": 4, "interval": 1, "epochs": 3, "quantile": 0.25, "perturb": (0.5, 2.0)}
    return Evolution(**{**known, "resample_probability": 0.0, "mutable": ("lr",), "seed": "", **changes})


def trial(number: int, member: int, generation: int, value: float | None, **more: Any) -> FrozenTrial:
    attribute = {"member": member, "generation": generation, "until": generation + 1, "source": None, "keys": ["lr"]}
    made = create_trial(
        state=more.pop("state", TrialState.COMPLETE),
        value=value,
        params={"lr": 0.01, "n": member + 1},
        distributions={key: param.distribution for key, param in PARAMS.items()},
        user_attrs={"segment": attribute, **more},
    )
    made.number = number
    return made


def ahead(trials: list[FrozenTrial], due: tuple[int, ...] = (), **changes: Any) -> Any:
    return Population(evolution(**changes), Space(PARAMS, []), maximize=True, seed="s").next(trials, due)


def test_who_is_furthest_behind_goes_first_and_nobody_waits() -> None:
    done = [trial(m, m, 0, 1.0 + m) for m in range(3)]
    assert ahead(done).attribute["member"] == 3
    running = [*done, trial(3, 3, 0, None, state=TrialState.RUNNING)]
    found = ahead(running)
    assert (found.attribute["member"], found.attribute["generation"]) == (0, 1)
    assert (found.attribute["source"], found.params["n"]) == (2, 3), "the worst of three copies the best"
    assert found.params["lr"] in (0.005, 0.02)


def test_one_that_lags_behind_counts_where_it_is_better_even_so() -> None:
    known = [trial(m, m, 0, 1.0 + m) for m in range(4)]
    known += [trial(4, 0, 1, 2.5), trial(5, 1, 1, 9.0), trial(6, 2, 1, 8.0)]
    known.append(trial(7, 3, 1, None, state=TrialState.RUNNING))
    found = ahead(known)
    assert (found.attribute["member"], found.attribute["source"]) == (0, 5)


def test_a_retry_takes_the_place_of_its_trial_and_one_that_is_due_is_waited_for() -> None:
    known = [trial(m, m, 0, 1.0 + m) for m in range(3)]
    known.append(trial(3, 3, 0, None, state=TrialState.FAIL))
    more = [trial(4 + m, m, 1, None, state=TrialState.RUNNING) for m in range(3)]
    assert ahead([*known, *more], due=(3,)) is None
    assert ahead([*known, *more]).attribute["member"] == 3
    again = trial(7, 3, 0, None, state=TrialState.WAITING, retry_of=3)
    assert ahead([*known, *more, again]) is None
    assert ahead([trial(m, m, 2, 1.0) for m in range(4)]) is None, "all are done"


def test_of_two_that_ask_at_once_without_a_lock_the_later_one_asks_again() -> None:
    known = [trial(0, 0, 0, 1.0), trial(1, 1, 0, None, state=TrialState.FAIL), trial(2, 1, 0, 1.0, retry_of=1)]
    assert not repeats(0, known)
    assert not repeats(2, known), "a retry is no repetition"
    assert repeats(3, [*known, trial(3, 0, 0, None, state=TrialState.RUNNING)])
    assert not repeats(4, [*known, trial(3, 2, 0, 1.0, surplus=True), trial(4, 2, 0, None, state=TrialState.RUNNING)])


@pytest.mark.parametrize(
    ("param", "value", "factor", "expected"),
    [
        (Param("a", FloatDistribution(0, 1)), 0.5, 1.5, 0.75),
        (Param("a", FloatDistribution(0, 1)), 0.9, 1.5, 1.0),
        (Param("a", FloatDistribution(0, 1, step=0.25)), 0.5, 1.1, 0.75),
        (Param("a", IntDistribution(1, 9)), 3, 1.1, 4),
        (Param("a", IntDistribution(1, 9)), 1, 0.5, 1),
        (Param("a", IntDistribution(1, 9, log=True)), 4, 2.0, 8),
        (choice("a", ["x", "y", "z"], "a"), "y", 2.0, "z"),
        (choice("a", ["x", "y", "z"], "a"), "x", 0.5, "x"),
    ],
)
def test_a_perturbed_value_is_one_of_the_parameter(param: Param, value: Any, factor: float, expected: Any) -> None:
    found = perturbed(param, value, factor)
    assert (found, type(found)) == (expected, type(expected))


def test_what_is_drawn_follows_from_the_seed_alone() -> None:
    param = Param("c", CategoricalDistribution(tuple(range(50))))
    assert draw(param, "a 0 0") == draw(param, "a 0 0")
    assert len({draw(param, f"a {m} 0") for m in range(20)}) > 10


# Real processes.


@pytest.mark.slow
def test_kill_9_of_a_real_sweep_and_the_same_command_again(tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "apps" / "own" / "train.py"
    line = [sys.executable, str(script), "-m", *HOW, "hydra.sweeper.mutable=[lr]", "hydra.sweeper.epochs=4", "epochs=4"]
    line += ["lr=interval(0.01,0.5)", "hidden=4,8", "tracking.enabled=false", "hydra.sweeper.report=false"]
    line += ["hydra.sweeper.study_name=s"]

    def run(folder: str, *more: str) -> int:
        (tmp_path / folder).mkdir(exist_ok=True)
        where: Any = {"cwd": tmp_path / folder, "env": {**os.environ, "OMP_NUM_THREADS": "1"}}
        done = warm.run([*line, *more], capture_output=True, text=True, timeout=120, **where)
        assert done.returncode in (0, -9), done.stderr
        return done.returncode

    assert run("whole") == 0
    assert run("cut", "die=3") == -9
    assert run("cut", "die=3") == 0

    def study(folder: str) -> Any:
        from rnn_sweep.storage import open_storage

        url = f"journal://{tmp_path / folder}/studies/s.journal"
        return told(optuna.load_study(study_name="s", storage=open_storage(url)))

    assert study("cut") == study("whole")


@pytest.mark.slow
def test_our_network_is_the_same_bits_when_its_schedule_is_replayed(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    from rnn_sweep.storage import open_storage

    def run(*arguments: str) -> None:
        line = [sys.executable, str(Path(__file__).parents[2] / "run.py"), *arguments, "tracking.enabled=false"]
        done = warm.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr

    space = ["optimizer.lr=tag(log,interval(1e-4,1e-2))", "optimizer.weight_decay=interval(0,0.1)", "seed=range(0,9)"]
    space += ["scheduler.pct_start=interval(0.2,0.4)"]
    own = ["hydra/sweeper/space=none", "hydra.sweep.dir=out", "hydra.sweeper.study_name=s", "trainer.epochs=4"]
    run("-m", *HOW, *own, "experiment=smoke", *space)
    study = optuna.load_study(study_name="s", storage=open_storage(f"journal://{tmp_path}/studies/s.journal"))
    trials = study.trials
    copy = next(t for t in trials if lineage.is_copy(t))
    found = yaml.safe_load((tmp_path / "out" / "schedule.yaml").read_text())
    found["segments"] = lineage.schedule(copy, trials)
    (tmp_path / "f.yaml").write_text(yaml.safe_dump(found))
    run("schedule=f.yaml", f"seed={copy.params['seed']}", "hydra.run.dir=again")
    one, other = (load_file(tmp_path / each / "weights.safetensors") for each in (f"out/{copy.number}", "again"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (tmp_path / "out" / "lineage.png").exists()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "The winner's schedule: until epoch 2 optimizer.lr = " in page.replace("&#39;", "'")
    assert 'id="plot-lineage"' in page
