"""The data of a run as MLflow knows it: a dataset with a name, a digest, a source and the sizes of its parts."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnn_sweep.config import DataConfig
    from rnn_sweep.data.dataset import Dataset

_FREE = ("batch_size", "dir")
"""Settings that leave the sequences of each part as they are."""


def describe(dataset: Dataset, config: DataConfig) -> dict[str, str]:
    """A dataset's fields in MLflow: name, digest, source, profile.

    The digest is that of everything which decides the sequences: the settings, and the content of the user's own file;
    all other data are always the same.
    """
    options = dict(config.options)
    file = options.pop("file", None)
    chosen = {key: value for key, value in vars(config).items() if key not in _FREE} | {"options": options}
    decides = json.dumps([chosen, dataset.sha256], sort_keys=True)
    made_by = {"tags": {"mlflow.source.name": f"data={config.name}"}}
    source = made_by if file is None else {"uri": str(Path(str(file)).absolute())}
    profile = {
        **({} if dataset.streams else {part: dataset.count(part) for part in ("train", "val", "test")}),
        "steps": dataset.steps,
        "features": dataset.input_dim,
        "outputs": dataset.outputs,
        **{key.replace("/", "_"): value for key, value in dataset.baseline.items()},
    }
    return {
        "name": dataset.name,
        "digest": hashlib.sha256(decides.encode()).hexdigest()[:8],
        "source_type": "code" if file is None else "local",
        "source": json.dumps(source),
        "profile": json.dumps(profile),
    }
