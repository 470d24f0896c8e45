from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from rnn_sweep.checkpoint import load
from rnn_sweep.data import Dataset
from rnn_sweep.errors import UserError
from rnn_sweep.files import GRADIENTS_FILE
from rnn_sweep.models import ModelSpec, RecurrentNetwork, initialise
from rnn_sweep.outcome import State
from rnn_sweep.training.gradients import gradient_norms
from tests.training.conftest import Make, train
from tests.training.test_train import Recorder, curves

STEPS, SHIFT = 5, 1e-6


@pytest.mark.parametrize(("cell", "layers"), [("rnn", 1), ("gru", 2), ("lstm", 2)])
def test_it_is_what_a_shifted_state_does_to_the_loss(cell: str, layers: int) -> None:
    spec = ModelSpec(cell, 3, 4, layers)
    model = RecurrentNetwork(spec)
    initialise(model, spec, seed=1)
    x, y = torch.randn(2, STEPS, 3, generator=torch.Generator().manual_seed(2)), torch.tensor([3, 7])
    norms = gradient_norms(model, x, y)
    slopes = torch.stack([torch.stack(_slopes(model, x[n : n + 1].double(), y[n : n + 1])) for n in range(2)])
    expected = slopes.square().sum(2).mean(0).sqrt()
    torch.testing.assert_close(torch.tensor(norms, dtype=torch.float64), expected, rtol=1e-4, atol=1e-9)


@torch.no_grad()
def _slopes(model: RecurrentNetwork, x: Tensor, y: Tensor) -> list[Tensor]:
    """For each step, how fast the loss of one sequence changes with each number of the state; by finite differences."""

    def loss(state: tuple[Tensor, ...], t: int) -> Tensor:
        rest = x[:, t + 1 :]
        if rest.shape[1]:
            state = _parts(model.rnn(rest, state if len(state) > 1 else state[0])[1])
        return functional.cross_entropy(model.head(state[0][-1]), y)

    slopes = []
    for t in range(STEPS):
        state = _parts(model.rnn(x[:, : t + 1])[1])
        found = []
        for part in state:
            for place in range(part.numel()):
                old = part.view(-1)[place].item()
                part.view(-1)[place] = old + SHIFT
                above = loss(state, t)
                part.view(-1)[place] = old - SHIFT
                found.append((above - loss(state, t)) / (2 * SHIFT))
                part.view(-1)[place] = old
        slopes.append(torch.stack(found))
    return slopes


def _parts(state: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


def test_a_look_at_the_gradients_changes_nothing_else(make: Make, digits: Dataset, tmp_path: Path) -> None:
    plain = train(make(), digits, tmp_path)
    assert not (tmp_path / GRADIENTS_FILE).exists()
    seen = train(make(trainer__gradients=2), digits, tmp_path)
    assert curves(seen) == curves(plain)
    found = json.loads((tmp_path / GRADIENTS_FILE).read_text())
    assert found["epoch"] == 2
    assert len(found["norms"]) == digits.steps
    assert all(norm > 0 for norm in found["norms"])


def test_a_run_that_goes_on_elsewhere_takes_them_along(make: Make, digits: Dataset, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    config = make(trainer__gradients=1)
    assert train(config, digits, first, Recorder(stop_at=2)).state is State.INTERRUPTED
    train(config, digits, second, resume=load(first))
    assert (second / GRADIENTS_FILE).read_text() == (first / GRADIENTS_FILE).read_text()


def test_two_directions_are_refused(make: Make) -> None:
    with pytest.raises(UserError, match=r"trainer\.gradients must be null for model\.bidirectional=true.*got 1"):
        make(trainer__gradients=1, model__bidirectional=True)


@pytest.mark.parametrize("epoch", [0, 4])
def test_an_epoch_that_never_ends_is_refused(make: Make, epoch: int) -> None:
    with pytest.raises(
        UserError, match=rf"trainer\.gradients must be an epoch from 1 to trainer\.epochs=3.*got {epoch}"
    ):
        make(trainer__gradients=epoch)
