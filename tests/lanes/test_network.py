from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from rnn_sweep.lanes import LaneNetwork
from rnn_sweep.lanes.dropout import draw_mask
from rnn_sweep.lanes.precision import Precision
from rnn_sweep.models import ModelSpec, RecurrentNetwork, initialise

T, B, I, H, C = 7, 9, 5, 12, 4  # noqa: E741
CELLS = [("rnn", "relu"), ("rnn", "tanh"), ("gru", None), ("lstm", None)]
# The same sums in another order: float32 rounding of a few hundred terms.
FP32 = {"rtol": 1e-4, "atol": 1e-6}


def grad_norms(net: LaneNetwork) -> torch.Tensor:
    return torch.cat(net.side_by_side(lambda share: share.grad_norms()))


def clip(net: LaneNetwork, limits: torch.Tensor) -> None:
    net.side_by_side(lambda share: share.clip_(limits[share.lanes], share.grad_norms()))


def make_spec(cell: str, nonlinearity: str | None, layers: int = 1, dropout: float = 0.0) -> ModelSpec:
    return ModelSpec(cell, I, H, layers, nonlinearity, dropout, "default", C)


def model(spec: ModelSpec, seed: int) -> RecurrentNetwork:
    result = RecurrentNetwork(spec)
    initialise(result, spec, seed)
    return result


def network(
    spec: ModelSpec, models: list[RecurrentNetwork], precision: Precision = "fp32", threads: int = 1
) -> LaneNetwork:
    net = LaneNetwork(spec, len(models), precision=precision, threads=threads)
    for lane, each in enumerate(models):
        net.load(lane, each.state_dict())
    return net


def batch(lanes: int, seed: int = 0, dtype: torch.dtype = torch.float32, size: int = B) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(T, lanes, size, I, generator=generator, dtype=dtype)
    return x, torch.randint(C, (lanes, size), generator=generator)


def reference(m: RecurrentNetwork, x: Tensor, y: Tensor) -> tuple[Tensor, list[Tensor]]:
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
    gradient, step, losses = flat.grad.clone(), 1e-6, []
    for sign in (1, -1):
        flat.data.add_(direction, alpha=sign * step)
        losses.append(net.forward_backward(x, y)[0][0])
        flat.data.sub_(direction, alpha=sign * step)
    numeric = (losses[0] - losses[1]) / (2 * step)
    torch.testing.assert_close(numeric, (gradient * direction).sum(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
def test_dropout_is_that_of_torch_with_the_same_masks(cell: str, nonlinearity: str | None) -> None:
    own = [0.4, 0.1]
    spec = make_spec(cell, nonlinearity, 2, own[0])
    models = [model(spec, seed).double() for seed in range(2)]
    net = network(spec, models, "fp64")
    net.load(1, models[1].state_dict(), dropout=own[1])
    x, y = batch(2, dtype=torch.float64)
    loss, _ = net.forward_backward(x, y, [torch.Generator().manual_seed(k) for k in range(2)])
    for k, m in enumerate(models):
        mask = torch.empty(T, B, H, dtype=torch.float64)
        draw_mask(mask, 1 - own[k], torch.Generator().manual_seed(k))
        expected = _two_layers_with_mask(m, spec, x[:, k], mask)
        expected_loss = nn.functional.cross_entropy(expected, y[k])
        expected_loss.backward()
        torch.testing.assert_close(loss[k], expected_loss.detach(), rtol=1e-12, atol=1e-12)
        for ours, theirs in zip(net.parameters(k), m.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-13)


def _two_layers_with_mask(m: RecurrentNetwork, spec: ModelSpec, x: Tensor, mask: Tensor) -> Tensor:
    """The two-layer classifier as two of one layer that share its weights, with ``mask`` between them."""
    layers = []
    for layer, inputs in enumerate((I, H)):
        options = {"nonlinearity": spec.nonlinearity} if spec.cell == "rnn" else {}
        one = type(m.rnn)(inputs, H, 1, **options).double()
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            setattr(one, f"{name}_l0", getattr(m.rnn, f"{name}_l{layer}"))
        layers.append(one)
    lower, _ = layers[0](x)
    upper, _ = layers[1](lower * mask)
    return m.head(upper[-1])  # type: ignore[no-any-return]


@pytest.mark.parametrize(("layers", "dropout"), [(1, 0.0), (2, 0.3)])
@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_lane_among_others_trains_as_alone(
    cell: str, nonlinearity: str | None, layers: int, dropout: float, threads: int
) -> None:
    spec = make_spec(cell, nonlinearity, layers, dropout)
    models = [model(spec, seed) for seed in range(5)]
    x, y = batch(5)

    def train(lanes: list[int]) -> list[Tensor]:
        net = network(spec, [models[lane] for lane in lanes], threads=threads)
        optimisers = [torch.optim.Adam(net.parameters(k), lr=1e-2) for k in range(len(lanes))]
        generators = [torch.Generator().manual_seed(lane) for lane in lanes]
        for _ in range(5):
            net.forward_backward(x[:, lanes], y[lanes], generators)
            clip(net, torch.full((len(lanes),), 0.5))
            for optimiser in optimisers:
                optimiser.step()
        return [net.flat_parameter(k).detach().clone() for k in range(len(lanes))]

    together = train([0, 1, 2, 3, 4])
    for lane in (0, 3):
        # Five steps of Adam, which divides by the gradient's size, on gradients that agree to FP32.
        torch.testing.assert_close(together[lane], train([lane])[0], rtol=1e-3, atol=1e-4)


def test_training_twice_is_the_same_bit_for_bit() -> None:
    spec = make_spec("lstm", None, 2, 0.2)
    x, y = batch(3)
    results = []
    for _ in range(2):
        net = network(spec, [model(spec, seed) for seed in range(3)], threads=2)
        generators = [torch.Generator().manual_seed(k) for k in range(3)]
        results.append([(net.forward_backward(x, y, generators)[0], grad_norms(net)) for _ in range(3)])
    for first, second in zip(*results, strict=True):
        assert torch.equal(first[0], second[0])
        assert torch.equal(first[1], second[1])


@pytest.mark.parametrize("hidden", [16, 128])
@pytest.mark.parametrize("size", [64, 33, 2])
def test_one_lane_on_two_threads_is_that_lane_on_one(hidden: int, size: int) -> None:
    spec = ModelSpec("rnn", I, hidden, 1, "tanh", outputs=C)
    x, y = batch(1, size=size)
    nets = [network(spec, [model(spec, 0)], threads=threads) for threads in (1, 2)]
    (loss, correct), (loss2, correct2) = [net.forward_backward(x, y) for net in nets]
    torch.testing.assert_close(loss, loss2)
    assert torch.equal(correct, correct2)
    for one, two in zip(nets[0].parameters(0), nets[1].parameters(0), strict=True):
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
def test_evaluation_is_the_readable_model(
    cell: str, nonlinearity: str | None, lanes: int, precision: Precision
) -> None:
    spec = make_spec(cell, nonlinearity, 2, 0.5)
    models = [model(spec, seed).eval() for seed in range(lanes)]
    net = network(spec, models, precision, threads=2)
    x, y = batch(1, size=1500)
    loss, correct = net.evaluate(x[:, 0], y[0])
    tolerance = {"rtol": 1e-4, "atol": 1e-2} if precision == "fp32" else {"rtol": 1e-2, "atol": 1.0}
    for k, m in enumerate(models):
        with torch.no_grad():
            logits = m(x[:, 0].transpose(0, 1))
        expected = nn.functional.cross_entropy(logits, y[0], reduction="sum")
        torch.testing.assert_close(loss[k].float(), expected, **tolerance)
        hits = int((logits.argmax(-1) == y[0]).sum())
        assert abs(int(correct[k]) - hits) <= (1 if precision == "fp32" else 30)


@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
def test_bf16_gradients_point_the_same_way(cell: str, nonlinearity: str | None) -> None:
    spec = ModelSpec(cell, I, 64, 2, nonlinearity, outputs=C)
    x, y = batch(1, size=64)
    nets = [network(spec, [model(spec, 0)], precision) for precision in ("fp32", "bf16")]  # type: ignore[arg-type]
    for net in nets:
        net.forward_backward(x, y)
    a, b = (net.flat_parameter(0).grad for net in nets)
    assert a is not None
    assert b is not None
    assert a.dtype == b.dtype == torch.float32
    assert float(torch.nn.functional.cosine_similarity(a, b, dim=0)) > 0.99


def test_state_goes_in_and_out_exactly() -> None:
    spec = make_spec("gru", None, 2)
    models = [model(spec, seed) for seed in range(2)]
    net = network(spec, models)
    for k, m in enumerate(models):
        state = net.state(k)
        assert list(state) == list(m.state_dict())
        for name, value in m.state_dict().items():
            assert torch.equal(state[name], value)
            assert state[name].data_ptr() != net.state(k)[name].data_ptr()


def test_a_state_of_another_shape_is_refused() -> None:
    net = LaneNetwork(make_spec("rnn", "relu"), 1)
    with pytest.raises(ValueError, match="state must have the shapes"):
        net.load(0, model(make_spec("rnn", "relu", 2), 0).state_dict())


def test_dropout_without_generators_is_refused() -> None:
    net = LaneNetwork(make_spec("rnn", "relu", 2, 0.5), 3, threads=2)
    with pytest.raises(ValueError, match="one generator per lane"):
        net.forward_backward(*batch(3))


def test_the_flat_parameter_is_all_parameters() -> None:
    net = network(make_spec("rnn", "tanh"), [model(make_spec("rnn", "tanh"), 0)])
    net.forward_backward(*batch(1))
    flat = net.flat_parameter(0)
    assert flat.grad is not None
    torch.testing.assert_close(flat.grad.norm(), grad_norms(net)[0])
    assert float(flat.detach().abs().sum()) == pytest.approx(
        sum(float(p.detach().abs().sum()) for p in net.parameters(0)), rel=1e-5
    )
    assert all(p.is_contiguous() and p.grad is not None and p.grad.is_contiguous() for p in net.parameters(0))


def test_clipping_scales_each_lane_by_its_own_limit() -> None:
    spec = make_spec("rnn", "tanh")
    net = network(spec, [model(spec, k) for k in range(3)])
    net.forward_backward(*batch(3))
    norms = grad_norms(net)
    limits = torch.tensor([float(norms[0]) / 2, float("inf"), float(norms[2]) * 2])
    clip(net, limits)
    torch.testing.assert_close(grad_norms(net) / norms, torch.tensor([0.5, 1.0, 1.0]), rtol=1e-4, atol=1e-6)


def test_a_lane_that_diverges_leaves_the_others_alone() -> None:
    spec = make_spec("gru", None, 2)
    models = [model(spec, k) for k in range(3)]
    x, y = batch(3)
    healthy, sick = network(spec, models), network(spec, models)
    sick.flat_parameter(1).data.fill_(float("nan"))
    for net in (healthy, sick):
        net.forward_backward(x, y)
        clip(net, torch.ones(3))
    for lane in (0, 2):
        assert torch.equal(healthy.flat_parameter(lane).grad, sick.flat_parameter(lane).grad)  # type: ignore[arg-type]
    assert torch.isnan(grad_norms(sick)).tolist() == [False, True, False]


@pytest.mark.parametrize("threads", [1, 2])
def test_lanes_leave_and_join_while_optimisers_go_on(threads: int) -> None:
    spec = make_spec("gru", None)
    models = [model(spec, seed) for seed in range(5)]
    x, y = batch(5)
    net = network(spec, models[:4], threads=threads)
    optimisers = {lane: torch.optim.Adam(net.parameters(lane), lr=1e-2) for lane in range(4)}

    def step(lanes: list[int]) -> None:
        net.forward_backward(x[:, lanes], y[lanes])
        for lane in lanes:
            optimisers[lane].step()

    step([0, 1, 2, 3])
    kept = net.parameters(3)
    net.keep([3, 1])
    assert all(a is b for a, b in zip(kept, net.parameters(0), strict=True))
    assert net.lanes == 2
    step([3, 1])
    assert list(net.add(1)) == [2]
    net.load(2, models[4].state_dict())
    optimisers[4] = torch.optim.Adam(net.parameters(2), lr=1e-2)
    step([3, 1, 4])
    survivor = net.flat_parameter(0).detach().clone()

    alone = network(spec, [models[3]])
    optimiser = torch.optim.Adam(alone.parameters(0), lr=1e-2)
    for _ in range(3):
        alone.forward_backward(x[:, 3:4], y[3:4])
        optimiser.step()
    torch.testing.assert_close(survivor, alone.flat_parameter(0).detach(), rtol=1e-3, atol=1e-4)


def test_a_smaller_last_batch_and_back() -> None:
    spec = make_spec("rnn", "relu")
    net = network(spec, [model(spec, k) for k in range(2)])
    full, rest = batch(2), batch(2, size=4)
    first = net.forward_backward(*full)[0]
    net.forward_backward(*rest)
    assert torch.equal(net.forward_backward(*full)[0], first)


@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
def test_a_smaller_model_is_padded_exactly(cell: str, nonlinearity: str | None) -> None:
    spec, wide = make_spec(cell, nonlinearity, 2, 0.0), make_spec(cell, nonlinearity, 2, 0.0)
    small = dataclasses.replace(spec, hidden_dim=spec.hidden_dim - 3)
    nets = [LaneNetwork(small, 1, precision="fp64"), LaneNetwork(wide, 2, precision="fp64")]
    first = model(small, 5)
    for net in nets:
        net.load(0, first.state_dict())
        optimiser = torch.optim.Adam([net.flat_parameter(0)], lr=0.01)
        for step in range(3):
            x, y = batch(1, seed=step)
            lanes = net.lanes
            net.forward_backward(x.expand(-1, lanes, -1, -1), y.expand(lanes, -1))
            optimiser.step()
    exact, padded = (net.state(0) for net in nets)
    for name, value in exact.items():
        torch.testing.assert_close(padded[name], value, rtol=1e-9, atol=1e-12)
    total = sum(value.square().sum() for value in padded.values())
    torch.testing.assert_close(nets[1].flat_parameter(0).detach().square().sum(), total)  # the padding is zero
    with pytest.raises(ValueError, match="shapes"):
        nets[0].load(0, model(wide, 1).state_dict())
