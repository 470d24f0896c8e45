"""Directions, tasks and answers for each step: against the readable model and autograd."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from rnn_sweep.lanes import LaneNetwork
from rnn_sweep.lanes.dropout import draw_mask
from rnn_sweep.models import ModelSpec, RecurrentNetwork, initialise

T, B, I, H, OUT = 6, 5, 3, 8, 4  # noqa: E741
CELLS = [("rnn", "relu"), ("rnn", "tanh"), ("gru", None), ("lstm", None)]
KINDS = [
    pytest.param({"task": task, "per_step": per_step, "bidirectional": both}, id=f"{task}-{per_step}-{both}")
    for task, per_step, both in itertools.product(("classification", "regression"), (False, True), (False, True))
    if (task, per_step, both) != ("classification", False, False) and not (task == "regression" and per_step)
]
CLOSE = {"rtol": 1e-9, "atol": 1e-11}


def make(spec: ModelSpec, lanes: int, threads: int = 1) -> tuple[LaneNetwork, list[RecurrentNetwork]]:
    models = [RecurrentNetwork(spec) for _ in range(lanes)]
    net = LaneNetwork(spec, lanes, precision="fp64", threads=threads)
    for lane, model in enumerate(models):
        initialise(model, spec, lane)
        model.double()
        net.load(lane, model.state_dict())
    return net, models


def targets(spec: ModelSpec, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    if spec.task == "regression":
        return torch.randn(*shape, OUT, generator=generator, dtype=torch.float64)
    return torch.randint(OUT, (*shape, T) if spec.per_step else shape, generator=generator)


def losses(model: RecurrentNetwork, x: Tensor, y: Tensor) -> Tensor:
    """Of each sequence, in the mean over its answers, for ``x`` [T, n, I]."""
    answer = model(x.transpose(0, 1))
    if model.spec.task == "regression":
        return (answer - y).square().mean(-1)
    if model.spec.per_step:
        return nn.functional.cross_entropy(answer.transpose(1, 2), y, reduction="none").mean(-1)
    return nn.functional.cross_entropy(answer, y, reduction="none")


def hits(model: RecurrentNetwork, x: Tensor, y: Tensor) -> Tensor:
    found = (model(x.transpose(0, 1)).argmax(-1) == y).double()
    return (found.mean(-1) if model.spec.per_step else found).sum()


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
def test_losses_and_gradients_are_those_of_autograd(
    cell: str, nonlinearity: str | None, kind: dict[str, object], layers: int
) -> None:
    spec = ModelSpec(cell, I, H, layers, nonlinearity, outputs=OUT, **kind)  # type: ignore[arg-type]
    net, models = make(spec, 3, threads=2)
    x = torch.randn(T, 3, B, I, dtype=torch.float64)
    y = targets(spec, 3, B)
    for _ in range(2):  # the second time with buffers that were used
        loss, correct = net.forward_backward(x, y)
    for k, model in enumerate(models):
        expected = losses(model, x[:, k], y[k]).mean()
        model.zero_grad()
        expected.backward()  # type: ignore[no-untyped-call]
        torch.testing.assert_close(loss[k], expected.detach(), **CLOSE)
        if spec.task == "classification":
            torch.testing.assert_close(correct[k].double(), hits(model, x[:, k], y[k]), rtol=1e-6, atol=0)
        for ours, theirs in zip(net.parameters(k), model.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, **CLOSE)


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
def test_evaluation_is_the_models(cell: str, nonlinearity: str | None, kind: dict[str, object], lanes: int) -> None:
    spec = ModelSpec(cell, I, H, 2, nonlinearity, dropout=0.5, outputs=OUT, **kind)  # type: ignore[arg-type]
    net, models = make(spec, lanes, threads=2)
    x, y = torch.randn(T, 300, I, dtype=torch.float64), targets(spec, 300)
    loss, correct = net.evaluate(x, y)
    for k, model in enumerate(models):
        torch.testing.assert_close(loss[k], losses(model.eval(), x, y).sum(), **CLOSE)
        expected = hits(model, x, y) if spec.task == "classification" else torch.zeros(())
        torch.testing.assert_close(correct[k].double(), expected.double(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_between_layers_leaves_the_mean_as_it_is(kind: dict[str, object]) -> None:
    """Of the lower layer's outputs: each direction of the upper one sees the same mask, at the same step."""
    spec = ModelSpec("gru", I, H, 2, dropout=0.25, outputs=OUT, **kind)  # type: ignore[arg-type]
    net, (model,) = make(spec, 1)
    x, y = torch.randn(T, 1, B, I, dtype=torch.float64), targets(spec, 1, B)
    loss, _ = net.forward_backward(x, y, [torch.Generator().manual_seed(3)])
    mask = torch.empty(T, B, spec.directions * H, dtype=torch.float64)
    draw_mask(mask, 0.75, torch.Generator().manual_seed(3))

    lower, upper = (nn.GRU(size, H, bidirectional=spec.bidirectional).double() for size in (I, spec.directions * H))
    names = dict(model.rnn.named_parameters())
    with torch.no_grad():
        for layer, part in enumerate((lower, upper)):
            for name, parameter in part.named_parameters():
                parameter.copy_(names[name.replace("_l0", f"_l{layer}")])
    hidden = upper(lower(x[:, 0])[0] * mask)[0].transpose(0, 1)
    model.rnn.forward = lambda _: (hidden, None)  # type: ignore[method-assign, assignment]
    torch.testing.assert_close(loss[0], losses(model, x[:, 0], y[0]).mean(), **CLOSE)


@pytest.mark.parametrize("kind", KINDS)
def test_a_padded_lane_computes_the_same(kind: dict[str, object]) -> None:
    small, wide = (ModelSpec("lstm", I, hidden, 2, dropout=0.3, outputs=OUT, **kind) for hidden in (6, 16))  # type: ignore[arg-type]
    net, (model,) = make(small, 1)
    padded = LaneNetwork(wide, 1, precision="fp64", threads=1)
    padded.load(0, model.state_dict())
    x, y = torch.randn(T, 1, B, I, dtype=torch.float64), targets(small, 1, B)
    optimisers = [torch.optim.Adam([each.flat_parameter(0)], lr=0.1) for each in (net, padded)]
    generators = [torch.Generator().manual_seed(3) for _ in optimisers]
    for _ in range(3):
        losses = [each.forward_backward(x, y, [g])[0] for each, g in zip((net, padded), generators, strict=True)]
        torch.testing.assert_close(losses[1], losses[0], **CLOSE)
        for optimiser in optimisers:
            optimiser.step()
    for name, value in net.state(0).items():
        torch.testing.assert_close(padded.state(0)[name], value, rtol=1e-6, atol=1e-9)
