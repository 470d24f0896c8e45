"""What others rely on by name (commands, configuration, metrics, files, variables) does not change by accident.

New names may come; ``python -m tests.test_surface > tests/surface.txt`` takes them, and accepts that one has gone.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

import rnn_sweep
from hydra_plugins.rnn_sweep_optuna.config import PRUNERS, SAMPLERS, SWEEPER
from rnn_sweep.api import compose
from rnn_sweep.files import configuration
from rnn_sweep.outcome import SCORES, State, metric_names

LIST = Path(__file__).with_name("surface.txt")


def commands() -> Iterator[str]:
    from rnn_sweep.cli import app

    group = typer.main.get_command(app)
    for name, command in vars(group)["commands"].items():
        yield f"command {name}"
        for param in command.params:
            yield f"command {name} {'|'.join(param.opts)}"


def keys(node: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in node:
        yield f"{prefix}{key}"
        if OmegaConf.is_dict(child := node._get_node(key)) and not child._is_none() and not child._is_interpolation():
            yield from keys(child, f"{prefix}{key}.")


def settings() -> Iterator[str]:
    folder = configuration()
    found: dict[str, None] = {}
    for path in sorted(folder.glob("*/*.yaml")):
        group, name = path.parent.name, path.stem
        yield f"option {group}={name}"
        if group != "experiment":
            cfg = compose(f"{group}={name}")
            found |= dict.fromkeys(key for key in keys(cfg))
    yield from (f"key {key}" for key in found)


def of_sweeps() -> Iterator[str]:
    for module in ("grid.sweeper", "pbt.sweeper", "launchers.processes", "launchers.ray", "launchers.threads"):
        importlib.import_module(f"hydra_plugins.rnn_sweep_{module}")
    for group in ("sweeper", "launcher"):
        ours = ConfigStore.instance().repo["hydra"][group]
        for file in ours:
            if isinstance(ours[file], dict) or ours[file].provider != "rnn_sweep":
                continue
            node = OmegaConf.create(ours[file].node)
            yield from (f"hydra/{group}={file.removesuffix('.yaml')} {key}" for key in node)
    yield from (f"hydra.sweeper.retries.{cause}" for cause in SWEEPER["retries"])
    for group, options in (("sampler", SAMPLERS), ("pruner", PRUNERS)):
        yield from (f"hydra/sweeper/{group}={name}" for name in options)


def names() -> Iterator[str]:
    yield from (f"import rnn_sweep.{name}" for name in rnn_sweep._HOME)
    yield from (f"metric {name}" for name in metric_names(*SCORES))
    yield from (f"state {state.value}" for state in State)
    for target in TARGETS:
        module, _, name = target.rpartition(".")
        assert hasattr(importlib.import_module(module), name), target
        yield f"target {target}"


TARGETS = (
    "rnn_sweep.report.comparison.Comparison",
    "rnn_sweep.serving._load_pyfunc",
    "rnn_sweep.trial.Reporter",
    "rnn_sweep.errors.UserError",
    "hydra_plugins.rnn_sweep_optuna.sweeper.OptunaSweeper",
    "hydra_plugins.rnn_sweep_grid.sweeper.GridSweeper",
)
"""What configurations, recorded models and applications name by its path."""


def files() -> Iterator[str]:
    from rnn_sweep import files

    yield from (f"file {value}" for name, value in vars(files).items() if name.endswith("_FILE"))


def variables() -> Iterator[str]:
    from rnn_sweep.engines.native.library import VARIABLE
    from rnn_sweep.redaction import STORAGE_VARIABLE, TRACKING_VARIABLE

    yield from (f"variable {name}" for name in (STORAGE_VARIABLE, TRACKING_VARIABLE, VARIABLE))


def hooks() -> Iterator[str]:
    from dataclasses import fields

    from rnn_sweep.sweep.hooks import Hooks

    yield from (f"hook rnn_sweep_{field.name}" for field in fields(Hooks))


SURFACE = (commands, settings, of_sweeps, names, files, variables, hooks)


def surface() -> list[str]:
    return [line for part in SURFACE for line in sorted(set(part()))]


@pytest.mark.slow
def test_public_names_are_as_before() -> None:
    gone = set(LIST.read_text().splitlines()) - set(surface())
    assert not gone


if __name__ == "__main__":
    print(*surface(), sep="\n")
