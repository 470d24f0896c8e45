"""scikit-learn: an estimator with ``partial_fit`` or ``warm_start`` as a run of epochs, in one line.

::

    fit(run, SGDClassifier(alpha=cfg.alpha), (x, y), (x_val, y_val), epochs=cfg.epochs)
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning

from rnn_sweep.errors import UserError
from rnn_sweep.integrations.callback import EpochCallback

if TYPE_CHECKING:
    from rnn_sweep.run.bridge import Run

FILE = "estimator.skops"
"""The fitted estimator in the run's folder, for ``skops.io.load``."""

TREES = ("sklearn.tree._tree.Tree", "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor")
"""Types that ``skops.io.load`` wants ``trusted`` of ensembles of trees: arrays, and nothing that is called."""

Data = tuple[Any, Any]
"""Features and targets, as the estimator takes them."""

E = TypeVar("E", bound=BaseEstimator)


def fit(run: Run, estimator: E, train: Data, val: Data, *, epochs: int) -> E:
    """Fit an estimator epoch by epoch: recorded, pruned, stopped, killed and gone on with as any run.

    With ``partial_fit`` an epoch is one call with all of the training data. With ``warm_start`` it is as many of the
    estimator's ``n_estimators`` (of histogram gradient boosting ``max_iter``) as makes all of them in ``epochs``
    epochs; where ``max_iter`` bounds the iterations of a solver, it is so many of these.

    Logs ``train/accuracy`` and ``val/accuracy`` of a classifier, ``train/r2`` and ``val/r2`` of a regressor (the
    estimator's ``score``), and leaves the estimator in :data:`FILE`, among the run's artifacts.

    Args:
        run: of ``rnn_sweep.main`` or ``start_run``.
        estimator: not yet fitted.
        train: features [N, …] and targets [N].
        val: the same of data that are not trained on.
        epochs: at least 1.

    Returns:
        The estimator, as it was when the run ended.

    Raises:
        UserError: the estimator can do neither, is of another kind, or has a state that could not be read back.
    """
    score = _score(estimator)
    step = _step(estimator, train, epochs)
    state = run.keep(_State(estimator), type(estimator).__name__)
    callback = EpochCallback(run, epochs)
    for epoch in range(callback.done, epochs):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # an epoch is not meant to converge
            step(epoch)
        state.begun = True
        if not callback({f"train/{score}": _scored(estimator, train), f"val/{score}": _scored(estimator, val)}):
            break
    if state.begun:
        (run.folder / FILE).write_bytes(_dumped(estimator))
        run.artifact(run.folder / FILE)
    return estimator


def _scored(estimator: Any, data: Data) -> float:
    return float(estimator.score(*data))


def _score(estimator: BaseEstimator) -> str:
    """The name of what ``estimator.score`` measures."""
    if is_classifier(estimator):
        return "accuracy"
    if is_regressor(estimator):
        return "r2"
    raise UserError(f"fit must get a classifier or a regressor of scikit-learn, got {type(estimator).__name__}")


def _step(estimator: Any, train: Data, epochs: int) -> Callable[[int], object]:
    """What trains one epoch, counted from 0."""
    x, y = train
    if hasattr(estimator, "partial_fit"):
        more = {"classes": np.unique(y)} if is_classifier(estimator) else {}
        return lambda epoch: estimator.partial_fit(x, y, **more)
    params = estimator.get_params(deep=False)
    size = next((name for name in ("n_estimators", "max_iter") if name in params), None)
    if "warm_start" not in params or size is None:
        rule = "fit must get an estimator with partial_fit, or with warm_start and n_estimators or max_iter"
        raise UserError(f"{rule}; got {type(estimator).__name__}")
    boosted = isinstance(estimator, HistGradientBoostingClassifier | HistGradientBoostingRegressor)
    total, grows = int(params[size]), size == "n_estimators" or boosted
    if grows and total < epochs:
        raise UserError(f"{size} of {type(estimator).__name__} must be at least epochs={epochs}, got {total}")

    def step(epoch: int) -> None:
        now = {size: total * (epoch + 1) // epochs} if grows else {}
        estimator.set_params(warm_start=True, **now).fit(x, y)

    return step


class _State:
    """An estimator's state, in skops' format: read back without executing anything in it."""

    def __init__(self, estimator: BaseEstimator) -> None:
        self._estimator = estimator
        self.begun = False

    def state_dict(self) -> dict[str, bytes | None]:
        """The estimator as a file of skops; None before its first epoch."""
        return {"estimator": _dumped(self._estimator) if self.begun else None}

    def load_state_dict(self, state: Mapping[str, bytes | None]) -> None:
        """The inverse. Raises :class:`UserError` where something in it is of no type that skops knows."""
        import skops.io

        content = state["estimator"]
        if content is not None:
            vars(self._estimator).update(vars(skops.io.loads(content, trusted=list(TREES))))
            self.begun = True


def _dumped(estimator: BaseEstimator) -> bytes:
    """Raises :class:`UserError` where the estimator could not be read back."""
    import skops.io

    content: bytes = skops.io.dumps(estimator)
    if unknown := set(skops.io.get_untrusted_types(data=content)) - set(TREES):
        name = type(estimator).__name__
        raise UserError(
            f"{name} must be made of what skops reads back without executing it, got {', '.join(sorted(unknown))}"
        )
    return content
