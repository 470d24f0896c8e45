from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from rnn_sweep.lanes import LaneNetwork
from rnn_sweep.models import ModelSpec, RecurrentClassifier, initialise

T, B, I, H, C = 7, 9, 5, 12, 4  # noqa: E741
CELLS = [("rnn", "relu"), ("rnn", "tanh"), ("gru", None), ("lstm", None)]
# The same sums in another order: float32 rounding of a few hundred terms.
FP32 = {"rtol": 1e-4, "atol": 1e-6}


def make_spec(cell: str, nonlinearity: str | None, layers: int = 1, dropout: float = 0.0) -> ModelSpec:
    init = "default"
    return ModelSpec(cell, I, H, layers, nonlinearity, dropout, init, C)  # type: ignore[arg-type]


def model(spec: ModelSpec, seed: int) -> RecurrentClassifier:
    result = RecurrentClassifier(spec)
    initialise(result, spec, seed)
    return result


def network(spec: ModelSpec, models: list[RecurrentClassifier], precision: str = "fp32") -> LaneNetwork:
    net = LaneNetwork(spec, len(models), precision=precision)  # type: ignore[arg-type]
    for lane, each in enumerate(models):
        net.load(lane, each.state_dict())
    return net


def batch(lanes: int, seed: int = 0, dtype: torch.dtype = torch.float32, size: int = B) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(T, lanes, size, I, generator=generator, dtype=dtype)
    return x, torch.randint(C, (lanes, size), generator=generator)


def reference(m: RecurrentClassifier, x: Tensor, y: Tensor) -> tuple[Tensor, list[Tensor]]:
    m.zero_grad()
    loss = nn.functional.cross_entropy(m(x.transpose(0, 1)), y)
    loss.backward()
    return loss.detach(), [p.grad.clone() for p in m.parameters()]  # type: ignore[union-attr]


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
def test_values_and_gradients_are_those_of_torch(cell: str, nonlinearity: str | None, layers: int) -> None:
    spec = make_spec(cell, nonlinearity, layers)
    models = [model(spec, seed).double() for seed in range(3)]
    net = network(spec, models, "fp64")
    x, y = batch(3, dtype=torch.float64)
    loss, correct = net.forward_backward(x, y)
    for k, m in enumerate(models):
        expected_loss, expected = reference(m, x[:, k], y[k])
        torch.testing.assert_close(loss[k], expected_loss, rtol=1e-12, atol=1e-12)
        for (name, _), ours, theirs in zip(m.named_parameters(), net.parameters(k), expected, strict=True):
            torch.testing.assert_close(
                ours.grad, theirs, rtol=1e-10, atol=1e-13, msg=lambda text, name=name: f"{name}: {text}"
            )
        assert correct[k] == (m(x[:, k].transpose(0, 1)).argmax(-1) == y[k]).sum()


@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
def test_fp32_gradients_are_those_of_torch(cell: str, nonlinearity: str | None) -> None:
    spec = make_spec(cell, nonlinearity, 2)
    models = [model(spec, seed) for seed in range(2)]
    net = network(spec, models)
    x, y = batch(2)
    net.forward_backward(x, y)
    for k, m in enumerate(models):
        for ours, theirs in zip(net.parameters(k), reference(m, x[:, k], y[k])[1], strict=True):
            torch.testing.assert_close(ours.grad, theirs, **FP32)


@pytest.mark.parametrize(("cell", "nonlinearity"), [c for c in CELLS if c[1] != "relu"])
def test_gradients_are_the_numerical_derivative(cell: str, nonlinearity: str | None) -> None:
    spec = make_spec(cell, nonlinearity, 2)
    net = network(spec, [model(spec, 0)], "fp64")
    x, y = batch(1, dtype=torch.float64)
    net.forward_backward(x, y)
    flat = net.flat_parameter(0)
    assert flat.grad is not None
    direction = torch.randn(flat.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for parameter in net.parameters(0):
        parameter.data.add_(0)
    gradient, step, losses = flat.grad.clone(), 1e-6, []
    for sign in (1, -1):
        flat.data.add_(direction, alpha=sign * step)
        losses.append(net.forward_backward(x, y)[0][0])
        flat.data.sub_(direction, alpha=sign * step)
    numeric = (losses[0] - losses[1]) / (2 * step)
    torch.testing.assert_close(numeric, (gradient * direction).sum(), rtol=1e-6, atol=1e-9)
