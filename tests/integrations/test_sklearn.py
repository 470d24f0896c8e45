"""Estimators of scikit-learn, and any loop that calls a function, as a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cluster import MiniBatchKMeans
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier

from rnn_sweep import Outcome, Run
from rnn_sweep.errors import UserError
from rnn_sweep.integrations.callback import EpochCallback
from rnn_sweep.integrations.sklearn import FILE, TREES, fit
from tests.integrations.conftest import CutError

X = np.random.default_rng(0).normal(size=(200, 4))
Y = (X.sum(1) + np.random.default_rng(1).normal(size=200) > 0).astype(int)


def with_(make: Callable[[], Any], cut: bool = False) -> Callable[[Any, Run], object]:
    def train(cfg: Any, run: Run) -> None:
        if cut:
            log, run.log = run.log, lambda metrics: log(metrics) if len(run.history) < 2 else cut_off()  # type: ignore[method-assign]
        fit(run, make(), (X[:150], Y[:150]), (X[150:], Y[150:]), epochs=cfg["epochs"])

    return train


def cut_off() -> None:
    raise CutError


@pytest.mark.parametrize(
    "make",
    [
        SGDClassifier,
        GaussianNB,
        lambda: RandomForestClassifier(11),
        lambda: HistGradientBoostingClassifier(max_iter=7, random_state=1),
        lambda: LogisticRegression(max_iter=2),
    ],
)
@pytest.mark.slow
def test_a_run_that_was_cut_off_goes_on_to_the_same_figures(
    gone_on: Callable[..., tuple[Outcome, Outcome]], make: Callable[[], Any], tmp_path: Path
) -> None:
    """Each kind of estimator goes on from its own state, bit for bit."""
    again, whole = gone_on(with_(make, cut=True), with_(make))
    assert whole.epochs == 5
    assert set(whole.history[0]) == {"train/accuracy", "val/accuracy"}
    assert list(again.history) == list(whole.history)
    found = skops.io.load(tmp_path / "whole" / FILE, trusted=list(TREES))
    assert found.score(X[150:], Y[150:]) == whole.history[-1]["val/accuracy"]


def test_an_ensemble_grows_to_all_of_its_trees(trained: Callable[..., Outcome], tmp_path: Path) -> None:
    trained(with_(lambda: GradientBoostingRegressor(n_estimators=12)), "run", objective="val/r2")
    assert skops.io.load(tmp_path / "run" / FILE, trusted=list(TREES)).n_estimators_ == 12


class Odd(ClassifierMixin, BaseEstimator):
    """Has something in it that executes when it is read back."""

    def partial_fit(self, x: Any, y: Any, classes: Any) -> None:
        self.classes_, self.what = classes, cut_off

    def predict(self, x: Any) -> Any:
        return np.zeros(len(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            KNeighborsClassifier,
            "must get an estimator with partial_fit, or with warm_start .*; got KNeighbors",
        ),
        (MiniBatchKMeans, "must get a classifier or a regressor of scikit-learn, got MiniBatchKMeans"),
        (lambda: RandomForestClassifier(3), "n_estimators of RandomForestClassifier must be at least epochs=5, got 3"),
        (Odd, "Odd must be made of what skops reads back without executing it, got .*cut_off"),
    ],
)
def test_an_estimator_that_does_not_fit_is_one_message(
    trained: Callable[..., Outcome], make: Callable[[], Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as refused:
        trained(with_(make), "run")
    assert "\n" not in str(refused.value)


def loop(cfg: Any, run: Run, stop: int | None = None, cut: int | None = None) -> None:
    total = run.keep({"sum": 0.0})
    callback = EpochCallback(run, cfg["epochs"])
    for epoch in range(callback.done, cfg["epochs"]):
        total["sum"] += np.random.random()
        if epoch == cut:
            raise CutError
        if not callback({"val/accuracy": total["sum"]}) or epoch == stop:
            break
    callback.close()
    run.log({"test/accuracy": 1})


def test_any_loop_may_call_a_function(
    gone_on: Callable[..., tuple[Outcome, Outcome]], trained: Callable[..., Outcome]
) -> None:
    again, whole = gone_on(lambda cfg, run: loop(cfg, run, cut=3), loop)
    assert list(again.history) == list(whole.history)
    assert (whole.epochs, whole.metrics["test/accuracy"]) == (5, 1)
    stopped = trained(lambda cfg, run: loop(cfg, run, stop=1), "stopped")
    assert list(stopped.history) == list(whole.history[:2])


def test_a_call_after_the_end_is_one_message(trained: Callable[..., Outcome]) -> None:
    def deaf(cfg: Any, run: Run) -> None:
        callback = EpochCallback(run, 1)
        for _ in range(2):
            callback({"val/accuracy": 0.5})

    with pytest.raises(UserError, match="said that the loop ends, and was called again"):
        trained(deaf, "run")
