"""A run that has ended, or was cut off, trained further: as a new run that goes on from the old one's checkpoint."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from rnn_sweep.errors import UserError
from rnn_sweep.tracking import CONTINUES

if TYPE_CHECKING:
    from rnn_sweep.config import TrackingConfig
    from rnn_sweep.run.hooks import Hooks


KEYS = "further"
"""Entry of a checkpoint that was put into a new folder: keys of the settings that may differ from its own."""


RESUME_KEY = "resume_key"
"""Entry of a checkpoint: the key of its application's setting that names a run to go on with, or None."""


def prepare(folder: Path, state: Mapping[str, Any], keys: Sequence[str]) -> None:
    """Make ``folder`` that of a run which goes on from a checkpoint, for an application without a setting for that.

    Args:
        folder: of the new run.
        state: the checkpoint of the old one.
        keys: of the settings that may differ.
    """
    from rnn_sweep import checkpoint

    tags = {CONTINUES: str(state["run_id"])} if state["run_id"] else {}
    folder.mkdir(parents=True)
    checkpoint.save(folder, {**state, "run_id": None, "wish": None, "tags": tags, KEYS: list(keys)})


def located(key: str, given: str, tracking: TrackingConfig) -> Path:
    """The folder of a run that is named by it, or by the run's id in MLflow or the beginning of one.

    Raises:
        UserError: there is no such run, or it does not say where its folder is.
    """
    folder, name = Path(given), Path(given).name
    if folder.is_dir() or not re.fullmatch(r"[0-9a-f]{6,32}", name) or not tracking.enabled:
        return folder
    from rnn_sweep.tracking.reading import find_run, open_existing

    run = find_run(open_existing(tracking.uri), name)
    if "output_dir" not in run.tags:
        raise UserError(f"{key}: run {name} does not say in which folder it is")
    return Path(run.tags["output_dir"])


def changed(hooks: Hooks, folder: Path, state: Mapping[str, Any], given: Any, typed: Sequence[str]) -> dict[str, Any]:
    """The recorded configuration with what was typed beside ``resume``.

    Args:
        hooks: of the application.
        folder: of the run to go on with.
        state: its checkpoint.
        given: the configuration that was composed now.
        typed: overrides, of keys in ``hooks.further``.

    Raises:
        UserError: the run has had as many epochs as it is to have.
    """
    config: dict[str, Any] = copy.deepcopy(dict(state["config"]))
    composed, whole = OmegaConf.create(given), OmegaConf.create(config)
    for line in typed:
        key = line.lstrip("+").partition("=")[0]
        OmegaConf.update(whole, key, OmegaConf.select(composed, key))
    had, key = len(state["history"]), hooks.further[0]
    wanted = OmegaConf.select(whole, key)
    if wanted is None or wanted <= had:
        raise UserError(f"{key} must be more than the {had} epochs that the run in '{folder}' has had, got {wanted}")
    return dict(OmegaConf.to_container(whole))  # type: ignore[arg-type]
