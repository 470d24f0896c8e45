"""A run as a folder that can be handed on: weights, configuration, model card."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rnn_sweep.commands.runs import command_of, config_of
from rnn_sweep.errors import UserError
from rnn_sweep.files import CONFIG_FILE, WEIGHTS_FILE

if TYPE_CHECKING:
    from rnn_sweep.config import DataConfig
    from rnn_sweep.tracking.reading import Recorded
    from rnn_sweep.tracking.store import Store

CARD_FILE = "README.md"
"""Where model hubs look for a model card."""


def export(store: Store, run: Recorded, folder: Path) -> list[Path]:
    """Write a run's weights, configuration and model card into a new folder, which appears whole or not at all.

    Returns:
        The files.

    Raises:
        UserError: the folder is there already and not empty, cannot be written, or the run has no weights.
    """
    from rnn_sweep.tracking.reading import fetch

    config_of(store, run)  # a sweep's run is refused here
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"DIR must be a new or empty folder, got '{folder}'")
    try:
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.absolute().parent, prefix=".export-") as name:
            unfinished = Path(name, "run")
            unfinished.mkdir()
            for file in (WEIGHTS_FILE, CONFIG_FILE):
                fetch(store, run, file, unfinished)
            (unfinished / CARD_FILE).write_text(card(store, run, unfinished / WEIGHTS_FILE), encoding="utf-8")
            if folder.exists():
                folder.rmdir()
            os.replace(unfinished, folder)
    except (OSError, shutil.Error) as error:
        raise UserError(f"DIR '{folder}' cannot be written: {error}") from None
    return sorted(folder.iterdir())


def card(store: Store, run: Recorded, weights: Path) -> str:
    """The model card in Markdown, with the front matter that model hubs read."""
    from rnn_sweep.models import load_weights
    from rnn_sweep.report.templates import render

    config = config_of(store, run)
    model = load_weights(weights)
    return render(
        "card.md.j2",
        run=run,
        config=config,
        command=command_of(store, run),
        features=_features(config.data),
        outputs=model.spec.outputs,
        parameters=sum(p.numel() for p in model.parameters()),
        versions={k.removeprefix("version."): v for k, v in run.tags.items() if k.startswith("version.")},
        weights=WEIGHTS_FILE,
    )


def _features(data: DataConfig) -> str | None:
    """What the network takes, where it takes images: shape and scale in Markdown."""
    import numpy as np

    from rnn_sweep.data import FAMILIES, check
    from rnn_sweep.data.images import sequences
    from rnn_sweep.data.store import IdxFamily

    family = FAMILIES[data.name]
    if not isinstance(family, IdxFamily):
        return None
    T, I = sequences(np.empty((0, *family.train_images.shape[1:])), check(data)[1]).shape[1:]  # noqa: E741
    return f"float32 `[N, {T}, {I}]` in [0, 1]: pixels times {family.scale:.6g}"
