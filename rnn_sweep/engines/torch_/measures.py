"""What the torch engine measures answers with: the loss that it minimises, and the metrics beside it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from rnn_sweep.config import Config
from rnn_sweep.config.schema import Measure
from rnn_sweep.config.targets import arguments, resolve
from rnn_sweep.data import IGNORED
from rnn_sweep.errors import UserError

Loss = Callable[[Tensor, Tensor], Any]

LOSSES: Mapping[str, Loss] = {
    "cross_entropy": functional.cross_entropy,
    "mse": functional.mse_loss,
    "mae": functional.l1_loss,
    "huber": functional.huber_loss,
    "smooth_l1": functional.smooth_l1_loss,
}
"""By name: answers [N, C] and labels [N], or values [N, D] both, to the mean over all."""


def check_measures(config: Config) -> None:
    """Check the names and arguments of loss and metrics, without data. Raises :class:`UserError`."""
    if config.loss is not None:
        _made("loss", config.loss, LOSSES)
    for measure in config.metrics:
        _made("metrics", measure, _metrics())


class Measures:
    """A run's loss and metrics, made and tried before it trains.

    Args:
        config: of the run.
        answer: answers as the network gives them [n, outputs] or [n, T, outputs], of any values.
        y: the targets that belong to them.
        padded: whether labels of steps may be :data:`~rnn_sweep.data.IGNORED`, for steps that are padding.

    Raises:
        UserError: a class or function of the user's own cannot be made, or answers what it must not.
    """

    def __init__(self, config: Config, answer: Tensor, y: Tensor, *, padded: bool = False) -> None:
        self.usual = config.loss is None
        """Whether the loss is the task's own, from which R² follows."""
        self._name = config.loss.target if config.loss is not None else ""
        usual = functional.mse_loss if y.is_floating_point() else functional.cross_entropy
        self._loss = usual if config.loss is None else _made("loss", config.loss, LOSSES)
        if isinstance(self._loss, nn.Module):
            self._loss.to(answer.device)
        self._masked = padded and y.ndim == 2 and not y.is_floating_point()
        self._metrics = {m.name: (m.target, _made("metrics", m, _metrics())) for m in config.metrics}
        self.kept = bool(self._metrics)
        """Whether all answers are needed at once."""
        if not self.usual:
            self._try_loss(answer, y)
        self.more(answer, y)

    def loss(self, answer: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy in the mean over the answers, the mean squared error of a regression, or the user's own."""
        found: Tensor = self._loss(*self._flat(answer, y))
        return found

    def right(self, answer: Tensor, y: Tensor) -> Tensor:
        """Number of sequences answered rightly; one with an answer a step counts by the part of its steps that are.

        Of a regression the sum of the sequences' mean squared errors, where the loss is another.
        """
        if y.is_floating_point():
            return answer.new_zeros(()) if self.usual else (answer - y.to(answer.dtype)).square().mean(1).sum()
        hits = (answer.argmax(-1) == y).sum()
        return hits / y.shape[1] if y.ndim == 2 and not self._masked else hits

    def count(self, y: Tensor) -> Tensor | int:
        """What losses and right answers are means over: sequences, or the steps that there are of padded ones."""
        return (y != IGNORED).sum() if self._masked else len(y)

    def more(self, answer: Tensor, y: Tensor) -> dict[str, float]:
        """The metrics of all answers to a part of the data. Raises :class:`UserError` where one is no number."""
        if not self._metrics:
            return {}
        found, wanted = self._flat(answer.detach().float().cpu(), y.cpu())
        return {name: _number(target, metric, found, wanted) for name, (target, metric) in self._metrics.items()}

    def _flat(self, answer: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Answers [M, outputs] and targets [M] or, of a regression, [M, D]: each step that there is, for itself."""
        if y.is_floating_point():
            return answer, y.to(answer.dtype)
        answer, y = answer.flatten(0, -2), y.flatten()
        return (answer[y != IGNORED], y[y != IGNORED]) if self._masked else (answer, y)

    def _try_loss(self, answer: Tensor, y: Tensor) -> None:
        tried = answer.detach().requires_grad_()
        shapes = " and ".join(str(list(part.shape)) for part in self._flat(answer, y))
        asked = f"loss={self._name} must take answers and targets {shapes} and return one number to be minimised"
        with torch.enable_grad():
            try:
                found = self.loss(tried, y)
            except Exception as error:  # the user's own code
                raise UserError(f"{asked}, got {_in_words(error)}") from error
        if not isinstance(found, Tensor) or found.numel() != 1 or not found.requires_grad:
            got = f"a tensor {list(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
            lost = " without a gradient" if isinstance(found, Tensor) and not found.requires_grad else ""
            raise UserError(f"{asked}, got {got}{lost}")


def _made(key: str, measure: Measure, known: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    """The function that a measure is: one by name, a function with arguments, or an object of a class."""
    options = dict(measure.options)
    found = known[measure.target] if measure.target in known else resolve(f"{key}._target_", measure.target)
    if not isinstance(found, type):
        try:
            inspect.signature(found).bind_partial(None, None, **options)
        except TypeError as error:
            raise UserError(f"{key}={measure.target} must take answers, targets and its settings: {error}") from None
        return functools.partial(found, **options) if options else found
    taken = arguments(key, measure.target, found, options, {})
    try:
        made = found(**taken)
    except Exception as error:  # the user's own code
        shown = ", ".join(f"{name}={value!r}" for name, value in taken.items()) or "nothing"
        raise UserError(f"{key}={measure.target} cannot be built with {shown}: {_in_words(error)}") from error
    if not callable(made):
        raise UserError(f"{key} must be a function, or a class of callable objects, got {measure.target}")
    called: Callable[..., Any] = made
    return called


def _number(target: str, metric: Callable[..., Any], answer: Tensor, y: Tensor) -> float:
    asked = (
        f"metrics={target} must take answers and targets {list(answer.shape)} and {list(y.shape)} and return a number"
    )
    try:
        found = metric(answer, y)
        if isinstance(found, str | bytes | bool):
            raise TypeError(f"got {found!r}")
        return float(found)
    except Exception as error:  # the user's own code
        raise UserError(f"{asked}, got {_in_words(error)}") from error


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


@functools.cache
def _metrics() -> Mapping[str, Callable[..., Any]]:
    """Metrics by name: of answers [M, C] and labels [M], or of values [M, D] both."""
    from sklearn import metrics as known

    def of_classes(score: Callable[..., Any], **settings: Any) -> Callable[..., float]:
        return lambda answer, y: float(score(y.numpy(), answer.argmax(1).numpy(), **settings))

    def top3_accuracy(answer: Tensor, y: Tensor) -> float:
        best = answer.topk(min(3, answer.shape[1]), 1).indices
        return float((best == y[:, None]).any(1).float().mean())

    mean: dict[str, Any] = {"average": "macro", "zero_division": 0}
    return {
        "f1": of_classes(known.f1_score, **mean),
        "precision": of_classes(known.precision_score, **mean),
        "recall": of_classes(known.recall_score, **mean),
        "balanced_accuracy": lambda answer, y: float(
            known.recall_score(y.numpy(), answer.argmax(1).numpy(), labels=y.unique().numpy(), **mean)
        ),
        "top3_accuracy": top3_accuracy,
        "mae": lambda answer, y: float((answer - y).abs().mean()),
        "rmse": lambda answer, y: float((answer - y).square().mean().sqrt()),
    }
