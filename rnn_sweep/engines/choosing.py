"""Which engine trains a run: the native one wherever it can, else torch's. Imports torch only to look for a GPU."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from rnn_sweep.config import Config
from rnn_sweep.data import padded, streamed
from rnn_sweep.errors import UserError

VERSIONS = {"native": 1, "torch": 1}
"""Raised where an engine comes to compute other bits from the same configuration."""

OPTIMIZERS = {
    "SGD": {"momentum", "dampening", "nesterov", "weight_decay"},
    "Adam": {"betas", "eps", "amsgrad", "weight_decay"},
    "AdamW": {"betas", "eps", "amsgrad", "weight_decay"},
    "RMSprop": {"alpha", "eps", "centered", "momentum", "weight_decay"},
    "Adagrad": {"lr_decay", "initial_accumulator_value", "eps", "weight_decay"},
}
"""Classes of ``torch.optim`` that the native engine has, with the options that it knows beside ``lr``."""


MOST_STRANDS = 64
"""Layers times directions that the native engine's library has room for."""


@dataclass(frozen=True)
class Choice:
    """The engine of a run."""

    name: Literal["native", "torch"]
    device: str
    """``cpu``, ``cuda`` or ``mps``."""
    precision: str
    """What it computes with: the native engine has bf16 only where the processor has."""
    reason: str | None = None
    """Why it is not the native one: a setting with its value, or what is wrong with the machine."""
    missing: bool = False
    """Whether the reason is the machine: the native engine cannot be loaded."""

    @property
    def identity(self) -> str:
        """See :attr:`Engine.identity <rnn_sweep.engines.engine.Engine.identity>`."""
        return identity(self.name, self.precision, self.device)


def identity(name: Literal["native", "torch"], precision: str, device: str = "cpu") -> str:
    """Name and version of an engine, its precision and, of torch's, the device: ``native 1 fp32``."""
    return " ".join([name, str(VERSIONS[name]), precision, *([device] if name == "torch" else [])])


def choose(config: Config) -> Choice:
    """Say which engine trains a run.

    Raises:
        UserError: ``trainer.engine=native``, and a setting or the machine does not allow it; or the device is not
            there.
    """
    trainer = config.trainer
    device = _device(config)
    if trainer.engine == "torch":
        return Choice("torch", device, trainer.precision, "trainer.engine=torch")
    reason = _unknown_to_native(config, device)
    if reason is not None:
        if trainer.engine == "native":
            raise UserError(f"trainer.engine=native cannot train {reason}; trainer.engine=auto leaves it to torch")
        return Choice("torch", device, trainer.precision, reason)

    from rnn_sweep.engines.native.library import NativeUnavailable, load

    try:
        bf16 = load().bf16
    except NativeUnavailable as error:
        if trainer.engine == "native":
            raise UserError(f"trainer.engine=native is not available on this machine: {error}") from error
        return Choice("torch", device, trainer.precision, str(error), missing=True)
    return Choice("native", device, trainer.precision if bf16 else "fp32")


def settle(config: Config, recorded: str) -> Config:
    """The configuration with the engine and the precision that a run was trained with.

    Args:
        config: what the run was asked for, such as ``trainer.engine=auto``.
        recorded: the identity of the engine that trained it.

    Raises:
        UserError: that engine is not to be had here.
    """
    name, _, precision = [*recorded.split(), "", "", ""][:3]
    try:
        if name not in VERSIONS:
            raise UserError(f"the engines are {' and '.join(VERSIONS)}")
        settled = replace(config, trainer=replace(config.trainer, engine=name, precision=precision))
        now = choose(settled).identity
    except UserError as error:
        raise UserError(f"the run was trained by the engine {recorded!r}, which cannot be had here: {error}") from error
    if now != recorded:
        rule = f"the run was trained by the engine {recorded!r}, and here it would be {now!r}"
        way = f"use the version of rnn-sweep and a machine that have trainer.engine={name} with {recorded!r}"
        raise UserError(f"{rule}; {way} (rnn-sweep doctor shows what there is)")
    return settled


def _device(config: Config) -> str:
    if config.trainer.device == "cpu":
        return "cpu"
    from rnn_sweep.engines.device import choose_device

    return choose_device(config.trainer).type


def _unknown_to_native(config: Config, device: str) -> str | None:
    """The setting, with its value, that the native engine does not know; None where it knows them all."""
    if device != "cpu":
        return f"trainer.device={device}"
    if config.trainer.precision not in ("fp32", "bf16"):
        return f"trainer.precision={config.trainer.precision}"
    if config.model.target is not None:
        return f"model._target_={config.model.target}"
    if padded(config.data) or streamed(config.data):
        return f"data.name={config.data.name} with {'lengths' if padded(config.data) else 'batches'}"
    if config.loss is not None:
        return f"loss={config.loss.target}"
    if config.metrics:
        return f"metrics={','.join(measure.name for measure in config.metrics)}"
    optimizer = config.optimizer
    name = optimizer.target.removeprefix("torch.optim.")
    if name not in OPTIMIZERS:
        return f"optimizer._target_={optimizer.target}"
    for option, value in optimizer.options.items():
        if option not in OPTIMIZERS[name] and value not in (None, False):  # both are as good as left out
            return f"optimizer.{option}={value}"
    if optimizer.options.get("eps") == 0:  # a step of 0 / 0 for what has no gradient, padding included
        return "optimizer.eps=0"
    strands = config.model.layers * (2 if config.model.bidirectional else 1)
    if strands > MOST_STRANDS:
        return f"model.layers={config.model.layers}"
    return None
