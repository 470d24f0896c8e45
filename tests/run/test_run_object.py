"""What a training function may do with its run, and what it is told when it does something else."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

import rnn_sweep
from rnn_sweep.errors import UserError
from rnn_sweep.outcome import Outcome, State
from rnn_sweep.run.returned import Ended, outcome_of


def config(**more: Any) -> DictConfig:
    return OmegaConf.create({"tracking": {"enabled": False}, **more})


class Cut(Exception):  # noqa: N818
    """Ends a run where it stands, as a kill would."""


def draw(folder: Path, cut: int | None = None) -> list[dict[str, float]]:
    """A run whose figures depend on everything that a checkpoint has; cut off in an epoch, or whole."""
    with rnn_sweep.start_run(config(seed=3), folder) as run:
        net = run.keep(torch.nn.Linear(2, 1))
        optimizer = run.keep(torch.optim.Adam(net.parameters(), 0.1))
        scheduler = run.keep(torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=8))
        seen, first = run.keep([]), run.keep(random.uniform(0, 1), "first")
        average = run.keep(torch.zeros(1), name="average")
        for epoch in run.epochs(5):
            if epoch == cut:
                raise Cut
            loss = net(torch.randn(8, 2)).square().mean() + np.random.rand() + random.uniform(0, 1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            seen.append(epoch)
            average += loss.detach()
            run.log({"loss": loss, "lr": optimizer.param_groups[0]["lr"], "seen": sum(seen), "first": first})
            run.log({"average": average})
    return list(run.outcome.history)


def test_a_run_that_was_cut_off_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole = draw(tmp_path / "whole")
    with pytest.raises(Cut):
        draw(tmp_path / "cut", 3)
    random.seed(99)  # another process would be somewhere else
    torch.manual_seed(99)
    np.random.seed(99)
    assert draw(tmp_path / "cut") == whole
    assert [row["seen"] for row in whole] == [1, 3, 6, 10, 15]


def test_break_counts_the_epoch(tmp_path: Path) -> None:
    with rnn_sweep.start_run(config(objective="val/loss"), tmp_path) as run:
        for epoch in run.epochs(9):
            run.log({"val/loss": 1 / epoch})
            run.log({"val/loss": 2 / epoch, "x": np.float32(1)})
            if epoch == 2:
                break
        run.log({"test/loss": 7})
    found = json.loads((tmp_path / "result.json").read_text())
    assert found["history"] == [{"val/loss": 2.0, "x": 1.0}, {"val/loss": 1.0, "x": 1.0, "test/loss": 7.0}]
    assert found["metrics"] == {"val/loss": 1.0, "x": 1.0, "test/loss": 7.0}
    assert (run.outcome.state, run.outcome.values, run.outcome.epochs) == (State.COMPLETE, (1.0,), 2)


def test_an_objective_that_becomes_nan_ends_the_run_as_diverged(tmp_path: Path) -> None:
    with rnn_sweep.start_run(config(objective="loss"), tmp_path) as run:
        for epoch in run.epochs(9):
            run.log({"loss": math.nan if epoch == 2 else 1.0})
    assert (run.outcome.state, run.outcome.epochs) == (State.DIVERGED, 2)
    assert run.outcome.cause == "loss became NaN or infinite in epoch 2"


def test_what_the_run_knows(tmp_path: Path) -> None:
    with rnn_sweep.start_run(config(seed=5), tmp_path) as run:
        assert (run.folder, run.seed, run.run_id, run.parent_run_id, run.trial) == (tmp_path, 5, None, None, None)
        assert not run.stopping
        assert torch.initial_seed() == 5


def looped(run: rnn_sweep.Run) -> None:
    for _ in run.epochs(1):
        run.log({"loss": 1})


@pytest.mark.parametrize(
    ("misuse", "message"),
    [
        (lambda run: run.keep(object()), r"run.keep\(object\) must have state_dict and load_state_dict, or be made of"),
        (lambda run: run.keep(np.zeros(2)), r"got numpy.ndarray; .tolist\(\) or torch.from_numpy makes it one"),
        (lambda run: run.keep(torch.nn.Linear), r"run.keep\(type\) must have state_dict"),
        (lambda run: [run.keep(1, "a"), run.keep(2, "a")], "run.keep: every name must be kept once, got 'a' again"),
        (lambda run: [run.epochs(1), run.keep(1)], "run.keep must come before run.epochs, got int after it"),
        (lambda run: [run.epochs(1), run.epochs(2)], "run.epochs must be called once in a run, got another call"),
        (lambda run: run.epochs(0), "the number of epochs must be an integer of at least 1, got 0"),
        (lambda run: run.epochs("3"), "the number of epochs must be an integer of at least 1, got '3'"),
        (lambda run: run.log({"loss": "low"}), "run.log: loss must be one number, got 'low'"),
        (lambda run: run.log({"loss": torch.zeros(2)}), "run.log: loss must be one number, got tensor"),
        (lambda run: run.log({"loss": None}), "run.log: loss must be one number, got None"),
        (lambda run: run.log(3), "run.log takes a mapping of names to numbers, got 3"),
        (lambda run: run.artifact("nowhere"), "run.artifact must get a file or folder that is there, got 'nowhere'"),
        (lambda run: run.log_model("net"), "run.log_model must get a torch.nn.Module, got str"),
        (lambda run: run.outcome, "run.outcome is known after the block"),
        (lambda run: run.log({"loss": {"a": 1}}), "run.log: loss must be one number, got {'a': 1}"),
        (lambda run: run.end(), "run.end must come within an epoch of run.epochs, got complete before its loop"),
        (lambda run: [looped(run), run.end("diverged")], "within an epoch of run.epochs, got diverged after its loop"),
        (lambda run: [next(run.epochs(2)), run.end("pruned")], "state must be complete or diverged, got 'pruned'"),
        (lambda run: [next(run.epochs(2)), run.end(None)], "state must be complete or diverged, got None"),
        (lambda run: run.epochs(2, steps=0), "run.epochs: steps must be an integer of at least 1 or None, got 0"),
        (
            lambda run: [run.keep([]).append(np.float64(1)), looped(run)],
            r"run.keep: list 1\[…\] must .*numpy.float64",
        ),
        (lambda run: [looped(run), run.keep(1)], "run.keep must come before run.epochs, got int after it"),
        (lambda run: run.tag("best"), "run.tag takes a mapping of names to texts, got 'best'"),
        (lambda run: run.log_dataset({"name": "a"}), "run.log_dataset takes a mapping of name, digest, source_type,"),
        (lambda run: run.figure("picture", "a"), "run.figure must get a figure of matplotlib, got str"),
        (lambda run: run.artifact(None), "run.artifact must get a file or folder that is there, got 'None'"),
    ],
)
def test_misuse_is_one_message(tmp_path: Path, misuse: Any, message: str) -> None:
    with pytest.raises(UserError, match=message), rnn_sweep.start_run(config(), tmp_path) as run:
        misuse(run)


def test_nothing_is_logged_after_the_end(tmp_path: Path) -> None:
    with rnn_sweep.start_run(config(), tmp_path) as run:
        pass
    with pytest.raises(UserError, match=r"run\.log must come before the run's end, got loss after it"):
        run.log({"loss": 1})


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    def train(width: int) -> None:
        with rnn_sweep.start_run(config(), tmp_path) as run:
            run.keep(torch.nn.Linear(width, 1))
            for _ in run.epochs(2):
                raise Cut

    with pytest.raises(Cut):
        train(2)
    with pytest.raises(UserError, match=r"run\.keep: Linear 1 does not take the state in the checkpoint: .*mismatch"):
        train(3)


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"tracking": "wandb"}, "tracking must be a mapping of settings, got 'wandb'"),
        ({"tracking": {"project": "x"}}, "tracking.project is not a setting"),
        ({"seed": "high"}, "seed must be an integer, got 'high'"),
        ({"trial": {"phase": 2}}, None),
        ({"trial": 3}, "trial is set by the sweeper; leave it null, got 3"),
        ({"objective": {"name": "reg:linear"}}, "objective must be the name of a metric, a list of them, or null"),
    ],
)
def test_keys_of_the_applications_own_are_refused_with_the_way_to_rename_ours(own: Any, message: str | None) -> None:
    from rnn_sweep.run.settings import read

    cfg = config(**own)
    if message is None:
        assert read(cfg).trial == own["trial"]
        return
    with pytest.raises(UserError, match=message) as refused:
        read(cfg)
    (key,) = own
    assert str(refused.value).endswith(f"rnn_sweep.main(..., nested=True): ours are then rnn_sweep.{key}")
    nested = OmegaConf.create({**own, "rnn_sweep": {"seed": 4, "trial": None, "tracking": {"enabled": False}}})
    assert read(nested).seed == 4


class Odd:
    def __float__(self) -> float:
        raise TypeError


@pytest.mark.parametrize(
    ("returned", "values", "metrics"),
    [
        (0.5, (0.5,), {"loss": 0.5}),
        (torch.tensor(2.0, requires_grad=True), (2.0,), {"loss": 2.0}),
        ((1, 2), (1.0, 2.0), {"loss": 3.0, "objective": 1.0}),
        ({"loss": 4, "test": 5}, (4.0,), {"loss": 4.0, "test": 5.0}),
        (None, (3.0,), {"loss": 3.0}),
    ],
)
def test_what_a_function_returns(returned: Any, values: tuple[float, ...], metrics: dict[str, float]) -> None:
    outcome = concluded(returned, ["loss"])
    assert (outcome.state, outcome.values, outcome.metrics) == (State.COMPLETE, values, metrics)


def concluded(returned: Any, objective: list[str], state: State | None = None) -> Outcome:
    return outcome_of(returned, objective, Ended([OrderedDict(loss=3.0)], {}, state, None, 1.0), required=True)


@pytest.mark.parametrize(
    ("returned", "objective", "message"),
    [
        ("good", ["loss"], "must return a number, several, a mapping of metrics, an Outcome, or nothing.*got 'good'"),
        (Odd(), ["loss"], "must return a number"),
        ({"loss": "low"}, ["loss"], "the returned loss must be one number, got 'low'"),
        (None, ["los"], r"objective=los was neither logged nor returned; did you mean 'loss'\?"),
        (None, [], "objective must name a logged metric where the function returns nothing, got null; logged: loss"),
    ],
)
def test_what_cannot_be_an_objective(returned: Any, objective: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        concluded(returned, objective)


def test_an_outcome_passes_as_it_is_and_nan_is_a_divergence() -> None:
    own = Outcome(State.PRUNED, (1.0,))
    assert concluded(own, []) is own
    assert concluded(math.nan, ["loss"]).state is State.DIVERGED
    assert concluded(None, [], State.INTERRUPTED).state is State.INTERRUPTED


def test_a_function_with_the_wrong_signature_is_one_message(monkeypatch: Any, capsys: Any) -> None:
    @rnn_sweep.main(config_path=None)
    def train(cfg: DictConfig) -> None:
        pass

    with pytest.raises(UserError, match=r"as in def train\(cfg, run\), got train\(cfg: .*DictConfig.*\)"):
        train(config())
    monkeypatch.setattr(sys, "argv", ["train.py"])
    with pytest.raises(SystemExit, match="2"):
        train()
    assert capsys.readouterr().err.startswith("error: the function under rnn_sweep.main must take")


def test_a_decorated_function_can_be_called(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)

    @rnn_sweep.main()
    def train(cfg: DictConfig, run: rnn_sweep.Run) -> float:
        return cfg.x * 2

    assert train(config(x=4)).values == (8.0,)
    assert len(list(tmp_path.glob("outputs/*/*/result.json"))) == 1


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, rnn_sweep; print({'torch', 'mlflow', 'optuna', 'hydra', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
