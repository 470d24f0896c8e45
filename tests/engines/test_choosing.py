from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from rnn_sweep import engines
from rnn_sweep.data import Dataset
from rnn_sweep.engines import building, choose, settle
from rnn_sweep.engines.native import library
from rnn_sweep.engines.native.library import NativeUnavailable
from rnn_sweep.errors import UserError
from rnn_sweep.training.loop import model_spec
from tests.training.conftest import Make

SGD, ADAM = "torch.optim.SGD", "torch.optim.Adam"


class Machine:
    """What the native engine would find here."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bf16, self.fault = True, ""
        monkeypatch.setattr(library, "load", self._load)
        building._warn.cache_clear()
        building._inform.cache_clear()

    def _load(self) -> Machine:
        if self.fault:
            raise NativeUnavailable(self.fault)
        return self


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "model__cell": "lstm",
            "model__nonlinearity": None,
            "model__init": "default",
            "model__layers": 3,
            "model__bidirectional": True,
        },
        {"model__cell": "gru", "model__nonlinearity": None, "model__init": "chrono"},
        {"optimizer": {"_target_": SGD, "lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}},
        {"optimizer": {"_target_": SGD, "lr": 0.1, "momentum": 0.9, "dampening": 0.5}},
        {"optimizer": {"_target_": ADAM, "lr": 0.1, "amsgrad": True, "betas": [0.8, 0.9], "eps": 1e-6}},
        {"optimizer": {"_target_": ADAM, "lr": 0.1, "maximize": False, "foreach": None}},
        {"optimizer": {"_target_": "torch.optim.AdamW", "lr": 0.1}},
        {"optimizer": {"_target_": "torch.optim.RMSprop", "lr": 0.1, "centered": True, "alpha": 0.9, "momentum": 0.5}},
        {"optimizer": {"_target_": "torch.optim.Adagrad", "lr": 0.1, "lr_decay": 0.1}},
        {"scheduler": {"name": "plateau"}},
        {"trainer__precision": "bf16"},
        {"trainer__clip_norm": None},
    ],
    ids=str,
)
def test_the_native_engine_trains_what_it_knows(make: Make, changes: dict[str, Any]) -> None:
    choice = choose(make(**changes))
    assert (choice.name, choice.reason) == ("native", None)
    assert choice.identity == f"native 1 {changes.get('trainer__precision', 'fp32')}"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"optimizer": {"_target_": "torch.optim.NAdam", "lr": 0.1}}, "optimizer._target_=torch.optim.NAdam"),
        ({"optimizer": {"_target_": ADAM, "lr": 0.1, "maximize": True}}, "optimizer.maximize=True"),
        ({"optimizer": {"_target_": ADAM, "lr": 0.1, "fused": True}}, "optimizer.fused=True"),
        (
            {"optimizer": {"_target_": ADAM, "lr": 0.1, "decoupled_weight_decay": True}},
            "optimizer.decoupled_weight_decay=True",
        ),
        ({"optimizer": {"_target_": SGD, "lr": 0.1, "foreach": True}}, "optimizer.foreach=True"),
        ({"optimizer": {"_target_": ADAM, "lr": 0.1, "eps": 0.0}}, "optimizer.eps=0"),
        ({"model__layers": 33, "model__bidirectional": True}, "model.layers=33"),
    ],
    ids=str,
)
def test_torch_trains_the_rest_and_says_because_of_what(
    make: Make, digits: Dataset, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], reason: str
) -> None:
    config = make(**changes)
    choice = choose(config)
    assert (choice.name, choice.reason, choice.identity) == ("torch", reason, "torch 1 fp32 cpu")
    with caplog.at_level(logging.INFO):
        engines.announce(config)
        for _ in range(2):
            engines.build(config, model_spec(config, digits), digits, threads=lambda: 1)
    assert [r.message for r in caplog.records] == [
        f"{reason}: the torch engine trains, which is slower than the native one"
    ]
    with pytest.raises(UserError, match=r"trainer\.engine=native cannot train") as caught:
        choose(make(**changes, trainer__engine="native"))
    assert reason in str(caught.value)


@pytest.mark.parametrize(("kind", "found"), [("cuda", "torch.cuda.is_available"), ("mps", "torch.backends.mps")])
def test_a_gpu_is_torchs(make: Make, monkeypatch: pytest.MonkeyPatch, kind: str, found: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: kind == "cuda")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: kind == "mps")
    for device in ("auto", kind):
        choice = choose(make(trainer__device=device))
        assert (choice.name, choice.reason) == ("torch", f"trainer.device={kind}")
        assert choice.identity == f"torch 1 fp32 {kind}"
    assert choose(make(trainer__device="cpu")).name == "native"
    with pytest.raises(UserError, match=rf"trainer\.engine=native cannot train trainer\.device={kind}"):
        choose(make(trainer__device="auto", trainer__engine="native"))


def test_without_a_library_torch_serves_with_one_warning(
    make: Make, digits: Dataset, machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    machine.fault = "the file is broken"
    config = make()
    choice = choose(config)
    assert (choice.name, choice.missing, choice.reason) == ("torch", True, "the file is broken")
    for _ in range(2):
        engines.build(config, model_spec(config, digits), digits, threads=lambda: 1)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "the file is broken" in record.message
    with pytest.raises(UserError, match=r"trainer\.engine=native is not available.*the file is broken"):
        choose(make(trainer__engine="native"))


def test_the_torch_engine_that_was_asked_for_needs_no_word(
    make: Make, digits: Dataset, machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    machine.fault = "the file is broken"
    config = make(trainer__engine="torch")
    with caplog.at_level(logging.INFO):
        engine = engines.build(config, model_spec(config, digits), digits, threads=lambda: 1)
    assert engine.identity == choose(config).identity == "torch 1 fp32 cpu"
    assert not caplog.records


def test_a_processor_without_bf16_trains_in_fp32(make: Make, machine: Machine) -> None:
    machine.bf16 = False
    choice = choose(make(trainer__precision="bf16"))
    assert (choice.name, choice.precision, choice.identity) == ("native", "fp32", "native 1 fp32")


@pytest.mark.parametrize("recorded", ["native 1 fp32", "native 1 bf16", "torch 1 bf16 cpu", "torch 1 fp32 cpu"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_is_settled_on_the_engine_that_it_had(make: Make, recorded: str, precision: str) -> None:
    assert choose(settle(make(trainer__precision=precision), recorded)).identity == recorded


@pytest.mark.parametrize(
    ("recorded", "words"),
    [
        ("native 1 fp32", ["not available", "the file is broken"]),
        ("native 2 fp32", ["native 2 fp32"]),
        ("torch 9 fp32 cpu", ["'torch 1 fp32 cpu'", "trainer.engine=torch", "rnn-sweep doctor"]),
        ("torch 1 fp32 mps", ["'torch 1 fp32 cpu'"]),
        ("other 1", ["native and torch"]),
        ("", ["native and torch"]),
    ],
)
def test_an_engine_that_is_not_there_is_named(make: Make, machine: Machine, recorded: str, words: list[str]) -> None:
    machine.fault = "the file is broken"
    with pytest.raises(UserError) as caught:
        settle(make(), recorded)
    for word in [f"trained by the engine '{recorded}'", *words]:
        assert word in str(caught.value)


def test_bf16_that_is_not_there_is_refused_to_a_run_that_had_it(make: Make, machine: Machine) -> None:
    machine.bf16 = False
    with pytest.raises(UserError, match="'native 1 bf16', and here it would be 'native 1 fp32'"):
        settle(make(), "native 1 bf16")


def test_an_unknown_engine_is_refused(make: Make) -> None:
    with pytest.raises(UserError, match=r"trainer\.engine must be one of auto, native, torch; got 'nativ'"):
        make(trainer__engine="nativ")


def test_a_choice_does_not_wait_for_torch(tmp_path: Path) -> None:
    code = """
import sys
from rnn_sweep.config import Config, DataConfig, ModelConfig, OptimizerConfig, SchedulerConfig, TrackingConfig
from rnn_sweep.config import TrainerConfig
from rnn_sweep.engines import choose
optimizer = OptimizerConfig("torch.optim.Adam", 0.1)
trainer = TrainerConfig(device="cpu")
print(choose(Config(ModelConfig(), optimizer, SchedulerConfig(), DataConfig(), trainer, TrackingConfig())).identity)
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
