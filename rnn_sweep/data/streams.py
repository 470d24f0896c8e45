"""Data that do not fit in memory: iterables of batches, such as torch's ``DataLoader``, read anew in each epoch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rnn_sweep.data.families.npz import File
from rnn_sweep.errors import UserError

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from rnn_sweep.data.family import Array

PARTS = ("train", "val", "test")

Batch = tuple["Tensor", "Tensor"]
"""Sequences [B, T, I] uint8 or float32, and targets as those of :class:`~rnn_sweep.data.Dataset`, on the CPU."""


class Stream:
    """One part of a data set. Each batch is checked as the arrays of a file are.

    Args:
        batches: what ``iter`` begins anew each time; its order and its shuffling are its own.
        part: one of :data:`PARTS`.
        source: who has made it, for messages.
        task: ``classification`` or ``regression``.
        outputs: classes C, or None for the number D of values, which the first batch shows.
        like: the first batch of the training part, for the other ones.

    Raises:
        UserError: it cannot be read twice, does not know its length (of the training part), or its first batch is not
            what it must be.
    """

    def __init__(
        self, batches: Iterable[Any], part: str, source: str, task: str, outputs: int | None, like: Batch | None
    ) -> None:
        self._batches, self._part, self._source, self._task = batches, part, source, task
        self._like = None if like is None else (like[0].numpy(), like[1].numpy())
        self._outputs = outputs
        self.passes = 0
        """How often it has been read to its end, which is the epoch for a ``set_epoch`` of its own."""
        self.sequences = 0
        """Of the latest pass; none before one has ended."""
        self.variance = 0.0
        """Of the targets of a regression in the latest pass, the mean over their D values."""
        if not isinstance(batches, Iterable) or iter(batches) is batches:
            raise self._wrong("be an iterable that begins anew each time, such as a DataLoader", type(batches).__name__)
        if part == "train" and not hasattr(batches, "__len__"):
            rule = "have a len(), the number of its batches, which schedules count by"
            raise self._wrong(rule, f"a {type(batches).__name__} without one")
        first = next(iter(batches), None)
        if first is None:
            raise self._wrong("have batches", "none")
        self.first: Batch = self._checked(first)

    def __len__(self) -> int:
        """Batches of a pass; of the training part alone."""
        return len(self._batches)  # type: ignore[arg-type]

    def read(self) -> Iterator[Batch]:
        """One pass over all batches.

        Raises:
            UserError: a batch is not what it must be, or there are not as many as there must be.
        """
        self._begin()
        count, sequences, moments = 0, 0, np.zeros((2, 1))
        for count, found in enumerate(self._batches, 1):
            if self._part == "train" and count > len(self):
                raise self._wrong(f"have as many batches as its len(), {len(self)}", "more")
            x, y = self._checked(found)
            sequences += len(x)
            if self._task == "regression":
                values = y.double().numpy()
                moments = moments + np.stack([values.sum(0), np.square(values).sum(0)])
            yield x, y
        if self._part == "train" and count < len(self):
            raise self._wrong(f"have as many batches as its len(), {len(self)}", count)
        self.passes += 1
        self.sequences = sequences
        if self._task == "regression":
            mean, square = moments / sequences
            self.variance = float((square - np.square(mean)).mean())
            if self.variance <= 0:
                raise self._wrong("have targets that differ, for R² measures against their variance", "equal ones")

    def _begin(self) -> None:
        """Tell who shuffles by it which epoch it is: the iterable, its sampler or its data set."""
        places: list[Any] = [self._batches, *(getattr(self._batches, name, None) for name in ("sampler", "dataset"))]
        for each in places:
            if hasattr(each, "set_epoch"):
                each.set_epoch(self.passes)
                return

    def state_dict(self) -> dict[str, Any]:
        """What the next pass depends on beside the process's generators."""
        generator = self._generator
        return {"passes": self.passes, "generator": None if generator is None else generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse."""
        self.passes = state["passes"]
        if self._generator is not None and state["generator"] is not None:
            self._generator.set_state(state["generator"])

    @property
    def _generator(self) -> Generator | None:
        """A generator of its own, as a ``DataLoader`` may have."""
        import torch

        found = getattr(self._batches, "generator", None)
        return found if isinstance(found, torch.Generator) else None

    def _checked(self, found: Any) -> Batch:
        import torch

        if not isinstance(found, tuple | list) or len(found) != 2:
            size = f" of {len(found)}" if isinstance(found, tuple | list) else ""
            raise self._wrong("have batches (X, y)", f"a {type(found).__name__}{size}")
        arrays = dict(zip(("X", "y"), map(np.asarray, found), strict=True))
        file = File(self._source, arrays, f"a batch of {self._part} of data._target_")
        x = file.features("X", None if self._like is None else self._like[0])
        if self._task == "regression":
            y = file.values("y", x, None if self._like is None else self._like[1])
        else:
            y = file.labels("y", x, self._labels(arrays["y"]))
        self._like = self._like or (x, y)
        return torch.from_numpy(x), torch.from_numpy(y)

    def _labels(self, y: Array) -> Array:
        """Labels of as many dimensions as those of the first batch, of all classes."""
        dimensions = y.ndim if self._like is None else self._like[1].ndim
        return np.full((1,) * dimensions, (self._outputs or 1) - 1)

    def _wrong(self, rule: str, got: object) -> UserError:
        return UserError(f"{self._part} of data._target_ must {rule}; got {got} in '{self._source}'")


def opened(found: Any, source: str, task: str) -> tuple[Mapping[str, Stream], int]:
    """The parts of what a function has returned, and the number of outputs.

    Raises:
        UserError: a part or the number of classes is missing, or as :class:`Stream`.
    """
    rule = f"data._target_ must return a mapping of {', '.join(PARTS)} (and outputs) with data.batches=true"
    if not isinstance(found, Mapping):
        raise UserError(f"{rule}, got a {type(found).__name__} of {source}")
    if wrong := [key for key in (*PARTS, *found) if key not in found or key not in (*PARTS, "outputs")]:
        raise UserError(f"{rule}, got {', '.join(map(str, found)) or 'nothing'} of {source}: {wrong[0]}")
    outputs: Any = found.get("outputs")
    if task == "classification" and (isinstance(outputs, bool) or not isinstance(outputs, int) or outputs < 2):
        needs = "outputs, the number of classes (at least 2), which batches do not show"
        raise UserError(f"data._target_ must return {needs}; got {outputs!r} of {source}")
    train = Stream(found["train"], "train", source, task, outputs, None)
    others = {part: Stream(found[part], part, source, task, outputs, train.first) for part in PARTS[1:]}
    values = int(train.first[1].shape[1]) if task == "regression" else outputs
    if outputs is not None and outputs != values:
        raise UserError(f"outputs of data._target_ must be {values}, the values of each target, got {outputs!r}")
    return {"train": train, **others}, values
