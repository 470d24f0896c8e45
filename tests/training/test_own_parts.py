"""A model and data of the user's own, trained by our training function."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from rnn_sweep import data
from rnn_sweep.checkpoint import load
from rnn_sweep.config import Config, to_tree
from rnn_sweep.engines import choose
from rnn_sweep.errors import UserError
from rnn_sweep.files import WEIGHTS_FILE
from rnn_sweep.models import load_weights
from rnn_sweep.outcome import State
from rnn_sweep.training import check
from tests import warm
from tests.conftest import ROOT
from tests.training.conftest import Make, Observer, train

OWN = {"_target_": "tests.apps.parts.Mix"}
ARRAYS = {**OmegaConf.to_container(OmegaConf.load(ROOT / "conf/data/custom.yaml")), "_target_": "tests.apps.parts.sums"}  # type: ignore[dict-item]


class Until(Observer):
    """Interrupts after an epoch."""

    def __init__(self, last: int) -> None:
        super().__init__()
        self.last, self.seen = last, 0

    def epoch(self, epoch: int) -> bool:
        self.seen = epoch
        return True

    def stop(self) -> bool:
        return self.seen == self.last


def curves(outcome: Any) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k != "images_per_second"} for row in outcome.history]


def test_it_trains_resumes_to_the_same_bits_and_is_read_back(make: Make, tmp_path: Path) -> None:
    config = make(model={**OWN, "width": 12}, data=ARRAYS, trainer__epochs=4, optimizer__lr=0.02)
    assert choose(config).reason == "model._target_=tests.apps.parts.Mix"
    dataset = data.load(config.data)
    whole = train(config, dataset, tmp_path)
    assert (whole.state, whole.metrics["parameters"]) == (State.COMPLETE, 12 * 9 + 12 + 12 * 4 + 1 + 12 * 2 + 2)
    assert whole.metrics["val/accuracy_best"] > 0.7

    part = tmp_path / "part"
    part.mkdir()
    train(config, dataset, part, Until(2))
    torch.manual_seed(7)
    again = train(config, dataset, part, resume=load(part))
    assert curves(again) == curves(whole)
    model = load_weights(part / WEIGHTS_FILE)
    with torch.no_grad():
        right = (model(dataset.x_test).argmax(1) == dataset.y_test).double().mean()
    assert float(right) == pytest.approx(whole.metrics["test/accuracy"])
    assert to_tree(config)["model"] == {**OWN, "width": 12}


def test_the_first_weights_depend_on_the_seed_alone(make: Make, tmp_path: Path) -> None:
    def begun(seed: int) -> list[dict[str, float]]:
        config = make(model=OWN, data=ARRAYS, seed=seed, trainer__epochs=1)
        torch.manual_seed(len(list(tmp_path.iterdir())))
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        return curves(train(config, data.load(config.data), folder))

    assert begun(1) == begun(1) != begun(2)


def checked_and_trained(config: Config, folder: Path) -> None:
    check(config)
    train(config, data.load(config.data), folder)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"_target_": "Mix"}, r"model\._target_ must be the dotted path of a class or function"),
        (
            {"_target_": "nowhere.Mix"},
            r"model\._target_ must be importable .* got 'nowhere\.Mix': No module named 'nowhere'",
        ),
        ({"_target_": "tests.apps.parts.Nix"}, "has no attribute 'Nix'"),
        ({"_target_": "tests.apps.parts.np"}, "must be a class or function, got 'tests.apps.parts.np', a module"),
        ({"_target_": "pathlib.Path"}, r"must be a torch\.nn\.Module"),
        ({**OWN, "widht": 3}, r"model\.widht is not an argument of tests\.apps\.parts\.Mix; did you mean 'width'"),
        ({"_target_": "torch.nn.GRUCell"}, r"model\.input_size must be given: torch\.nn\.GRUCell needs it"),
        ({**OWN, "width": -1}, r"model\._target_=tests\.apps\.parts\.Mix cannot be built with .*width=-1"),
        ({"_target_": "tests.apps.parts.Steps"}, r"must answer sequences \[2, 6, 3\] with \[2, 2\], got \[2, 6, 2\]"),
        ({"_target_": "tests.apps.parts.Breaks"}, "with .2, 2., got RuntimeError: no such kernel"),
        ({"_target_": "torch.nn.Identity"}, "must make a module with parameters to train"),
    ],
)
def test_a_model_that_does_not_fit_is_one_message(make: Make, tmp_path: Path, model: Any, message: str) -> None:
    config = make(model=model, data=ARRAYS)
    with pytest.raises(UserError, match=message) as refused:
        checked_and_trained(config, tmp_path)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_what_our_own_networks_alone_have_is_refused(make: Make) -> None:
    with pytest.raises(UserError, match=r"trainer\.gradients must be null for model\._target_="):
        make(model=OWN, trainer__gradients=1)
    with pytest.raises(UserError, match=r"trainer\.engine=native cannot train model\._target_="):
        choose(make(model=OWN, trainer__engine="native"))


def test_parts_that_were_given_stay_as_they_are(make: Make) -> None:
    found = data.load(make(data={**ARRAYS, "_target_": "tests.apps.parts.parted"}).data)
    assert [len(part) for part in (found.x_train, found.x_val, found.x_test)] == [200, 50, 50]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"_target_": "tests.apps.parts.nosuch"}, r"data\._target_ must be importable"),
        ({"m": 3}, r"data\.m is not an argument of tests\.apps\.parts\.sums; known: n, shift"),
        ({"_target_": "tests.apps.parts.nothing"}, r"data\._target_ must return \(X, y\), .* got a NoneType of"),
        (
            {"_target_": "tests.apps.parts.wrong"},
            r"X of data\._target_ must have the shape \[N, T, I\]; got \[4, 2\] in",
        ),
        ({"shift": 99}, r"y of data\._target_ must hold labels of at least two classes; got 0 alone"),
    ],
)
def test_data_that_do_not_fit_are_one_message(make: Make, settings: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        data.load(make(data={**ARRAYS, **settings}).data)


@pytest.mark.slow
def test_they_are_searched_recorded_and_served(tmp_path: Path) -> None:
    own = ["model=custom", "model._target_=tests.apps.parts.Mix", "data=custom", "data._target_=tests.apps.parts.sums"]
    few = ["trainer.epochs=2", "hydra.sweeper.n_trials=2", "hydra/sweeper/space=none"]
    line = [sys.executable, "-m", "rnn_sweep", "sweep", *own, *few, "+model.width=choice(4,8)", "+data.n=200"]
    environment = {"PYTHONPATH": str(ROOT)}
    done = warm.run(line, cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "2/2 ended" in done.stdout

    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "rnn-sweep"]
    models = client.search_logged_models(experiment_ids=[experiment.experiment_id])
    assert len(models) == 2
    served = mlflow.pyfunc.load_model(models[0].artifact_location)
    assert served.predict(torch.zeros(3, 6, 3).numpy()).shape == (3,)
