from __future__ import annotations

import io
from dataclasses import replace

import pytest
import torch

from rnn_sweep.models import ModelSpec, RecurrentNetwork, initialise


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("layers", [1, 2])
def test_logits_and_names(cell: str, layers: int) -> None:
    m = RecurrentNetwork(ModelSpec(cell, 5, 8, layers, None, 0.5, outputs=3))
    assert m(torch.randn(4, 6, 5)).shape == (4, 3)
    names = list(m.state_dict())
    assert names[0] == "rnn.weight_ih_l0"
    assert names[-2:] == ["head.weight", "head.bias"]


@pytest.mark.parametrize("init", ["default", "orthogonal", "identity"])
def test_a_seed_decides_every_weight(init: str) -> None:
    spec = ModelSpec("rnn", 5, 8, 2, "relu", init=init)
    states = []
    for seed in (1, 1, 2):
        m = RecurrentNetwork(spec)
        initialise(m, spec, seed)
        states.append(m.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["rnn.weight_ih_l0"], states[2]["rnn.weight_ih_l0"])


def test_the_global_generator_is_left_alone() -> None:
    spec = ModelSpec("gru", 5, 8)
    m = RecurrentNetwork(spec)
    before = torch.get_rng_state()
    initialise(m, spec, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_default_is_uniform_up_to_one_over_root_h() -> None:
    spec = ModelSpec("lstm", 20, 64)
    m = RecurrentNetwork(spec)
    initialise(m, spec, 0)
    for value in m.state_dict().values():
        assert float(value.abs().max()) <= 1 / 8
    assert float(m.state_dict()["rnn.weight_hh_l0"].std()) == pytest.approx(1 / 8 / 3**0.5, rel=0.02)


def test_identity_is_the_irnn() -> None:
    spec = ModelSpec("rnn", 5, 8, 2, "relu", init="identity")
    m = RecurrentNetwork(spec)
    initialise(m, spec, 0)
    assert torch.equal(m.rnn.weight_hh_l1, torch.eye(8))
    assert not m.rnn.bias_ih_l0.any()
    with pytest.raises(ValueError, match="got cell 'gru'"):
        initialise(m, ModelSpec("gru", 5, 8, init="identity"), 0)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_orthogonal_gate_by_gate_and_an_open_forget_gate(cell: str) -> None:
    spec = ModelSpec(cell, 5, 8, init="orthogonal")
    m = RecurrentNetwork(spec)
    initialise(m, spec, 0)
    for gate in m.rnn.weight_hh_l0.detach().split(8):
        torch.testing.assert_close(gate @ gate.T, torch.eye(8), rtol=1e-5, atol=1e-5)
    bias = m.rnn.bias_ih_l0 + m.rnn.bias_hh_l0
    assert float(bias.detach().sum()) == (8.0 if cell == "lstm" else 0.0)


@pytest.mark.parametrize(
    ("cell", "keeps", "writes"), [("lstm", slice(64, 128), slice(0, 64)), ("gru", slice(64, 128), None)]
)
def test_chrono_gates_remember_up_to_the_whole_sequence(cell: str, keeps: slice, writes: slice | None) -> None:
    spec = ModelSpec(cell, 5, 64, init="chrono", steps=200)
    m = RecurrentNetwork(spec)
    initialise(m, spec, 0)
    bias = (m.rnn.bias_ih_l0 + m.rnn.bias_hh_l0).detach()
    spans = bias[keeps].exp()  # steps after which a gate σ(b) has let go of most of what it kept, less one
    assert 1 <= float(spans.min()) < 20 < 180 < float(spans.max()) <= 199
    assert writes is None or torch.equal(bias[writes], -bias[keeps])
    assert not bias[128:].any()
    plain = RecurrentNetwork(spec)
    initialise(plain, replace(spec, init="orthogonal"), 0)
    assert torch.equal(plain.rnn.weight_hh_l0, m.rnn.weight_hh_l0)
    with pytest.raises(ValueError, match="got cell 'rnn'"):
        initialise(m, ModelSpec("rnn", 5, 8, init="chrono"), 0)


def test_a_sequence_of_one_step_has_nothing_to_remember() -> None:
    spec = ModelSpec("lstm", 5, 8, init="chrono", steps=1)
    m = RecurrentNetwork(spec)
    initialise(m, spec, 0)
    assert not m.rnn.bias_ih_l0.any()


def test_a_saved_state_loads_into_a_new_model() -> None:
    spec = ModelSpec("lstm", 5, 8, 2)
    m, other = RecurrentNetwork(spec), RecurrentNetwork(spec)
    buffer = io.BytesIO()
    torch.save(m.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    x = torch.randn(2, 6, 5)
    assert torch.equal(m(x), other(x))


@pytest.mark.slow
# torch.export's view of nn.RNN's own list of weights; the program is right all the same
@pytest.mark.filterwarnings("ignore:The tensor attributes? self.rnn._flat_weights:UserWarning")
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_it_exports_with_any_batch_size(cell: str) -> None:
    m = RecurrentNetwork(ModelSpec(cell, 5, 8)).eval()
    batch = torch.export.Dim("batch", min=1, max=512)
    program = torch.export.export(m, (torch.randn(3, 6, 5),), dynamic_shapes={"x": {0: batch}})
    x = torch.randn(7, 6, 5)
    torch.testing.assert_close(program.module()(x), m(x))
