"""A recorded network behind MLflow's scoring server: images in, classes out. MLflow loads this module by its name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rnn_sweep.models import RecurrentClassifier

WEIGHTS_FILE = "weights.safetensors"
"""In the model's ``data`` folder."""


class Classifier:
    """What ``mlflow.pyfunc.load_model`` wraps."""

    def __init__(self, model: RecurrentClassifier) -> None:
        self._model = model

    def predict(self, images: NDArray[np.float32], params: dict[str, Any] | None = None) -> NDArray[np.int64]:
        """The class of each image.

        Args:
            images: float32 [n, T, I] in [0, 1], bright on dark.
            params: MLflow's; there are none.

        Returns:
            int64 [n].
        """
        import torch

        with torch.no_grad():
            classes: NDArray[np.int64] = self._model(torch.as_tensor(images)).argmax(dim=-1).numpy()
        return classes


def _load_pyfunc(path: str) -> Classifier:
    """Called by MLflow with the model's ``data`` folder; nothing in it is executed."""
    from rnn_sweep.models import load_weights

    return Classifier(load_weights(Path(path) / WEIGHTS_FILE))
