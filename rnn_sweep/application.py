"""The package's own application: recurrent networks, trained by a function over the public :class:`rnn_sweep.Run`.

It uses what any application may use: :func:`rnn_sweep.main` with :class:`rnn_sweep.Hooks`, and nothing private of the
bridge. ``run.py`` is this function as a program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from rnn_sweep import Hooks
from rnn_sweep.config import OBJECTIVES, Config, to_tree
from rnn_sweep.config import parse as parse_config
from rnn_sweep.outcome import Outcome, metric_names

if TYPE_CHECKING:
    from rnn_sweep import Run


def train(cfg: Mapping[str, Any], run: Run) -> Outcome:
    """Train what a parsed configuration describes."""
    from rnn_sweep.training import train as train_network

    return train_network(parse_config(cfg), run)


def parse(cfg: DictConfig | Mapping[str, Any]) -> Mapping[str, Any]:
    """The configuration with every setting in plain values, checked. Raises :class:`UserError`."""
    config = parse_config(cfg)
    return {**to_tree(_anchored(config)), "trial": config.trial}


def _anchored(config: Config) -> Config:
    """Resolve relative places against the folder that the program was started in: ``hydra.job.chdir`` leaves it."""
    if not (HydraConfig.initialized() and HydraConfig.get().job.chdir):
        return config
    home = Path(HydraConfig.get().runtime.cwd)

    def absolute(path: Any) -> Any:
        return str(home / path) if isinstance(path, str) and not path.startswith("~") else path

    data, trainer = config.data, config.trainer
    options = tuple((key, absolute(value) if key == "file" else value) for key, value in data.options)
    return replace(
        config,
        data=replace(data, dir=absolute(data.dir), options=options),
        trainer=replace(trainer, resume=absolute(trainer.resume)),
        schedule=absolute(config.schedule),
    )


def check(cfg: Mapping[str, Any], kept: Mapping[str, Any] | None) -> None:
    """Check a configuration as far as that can be done without its data. Raises :class:`UserError`."""
    from rnn_sweep import data

    config = parse_config(cfg)
    if kept is None:
        data.check(config.data)
    # Importing torch takes a second: what can be refused without it has been refused by now.
    from rnn_sweep import training

    training.check(config if kept is None else training.settled(config, kept))


def notice(cfg: Mapping[str, Any]) -> None:
    """Say what is not as one would expect of the engine."""
    from rnn_sweep import engines

    engines.announce(parse_config(cfg))


def metrics(cfg: Mapping[str, Any]) -> Sequence[str]:
    """The names of the metrics that an outcome may have."""
    config = parse_config(cfg)
    known = metric_names(OBJECTIVES[config.data.task][0].rpartition("/")[2])
    return [*known, *(f"{part}/{measure.name}" for measure in config.metrics for part in ("val", "test"))]


def alone(cfg: Mapping[str, Any]) -> str:
    """Why threads cannot train it beside others."""
    own = {"model._target_": "_target_" in cfg["model"], "data.batches": cfg["data"].get("batches", False)}
    return next((f"{key} may draw from the process's generators" for key, drawn in own.items() if drawn), "")


def decides(cfg: Mapping[str, Any]) -> object:
    """All that decides the outcome of a run; None where the clock, a GPU or a user's own function has a part in it.

    The engine is among it, which is this machine's choice where nobody has chosen one.
    """
    from rnn_sweep import data, engines

    config = parse_config(cfg)
    measures = (*config.metrics, *([config.loss] if config.loss else ()))
    own = [measure.target for measure in measures if "." in measure.target]
    parts = (config.model.target, config.trainer.timeout, config.trainer.resume, *own)
    timed = "seconds" in config.objective
    if timed or any(part is not None for part in parts) or config.data.name == "custom":
        return None
    if isinstance(config.schedule, str):  # a file, which may change
        return None
    choice = engines.choose(config)
    if choice.device != "cpu":
        return None
    left = {"trial", "tracking"}
    decisive = {key: value for key, value in asdict(config).items() if key not in left}
    decisive["data"].pop("dir")
    return [decisive, choice.identity, data.sha256(config.data)]


FURTHER = ("trainer.epochs", "trainer.restart_schedule", "trainer.patience", "trainer.timeout", "trainer.threads")
"""What may change where a run is trained further."""
MUTABLE = ("optimizer.*", "scheduler.*", "model.dropout", "trainer.clip_norm")
"""What may change while a network is trained: what it learns at which rate, and not what it is."""
HOOKS = Hooks(
    parse,
    check,
    notice,
    metrics,
    alone,
    decides,
    resume="trainer.resume",
    further=FURTHER,
    mutable=MUTABLE,
    schedule="schedule",
    own_keys=True,
)
