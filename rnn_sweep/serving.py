"""A recorded network behind MLflow's scoring server: sequences in, answers out; loaded by the module's name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnn_sweep.files import WEIGHTS_FILE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rnn_sweep.models import Network


class Served:
    """What ``mlflow.pyfunc.load_model`` wraps."""

    def __init__(self, model: Network) -> None:
        self._model = model

    def predict(
        self, sequences: NDArray[np.float32], params: dict[str, Any] | None = None
    ) -> NDArray[np.int64] | NDArray[np.float32]:
        """The class of each sequence, or of each of its steps; or the values of a regression.

        Args:
            sequences: float32 [n, T, I], as in the data set: images in [0, 1], bright on dark.
            params: MLflow's; there are none.

        Returns:
            int64 [n] or [n, T], or float32 [n, D].
        """
        import torch

        with torch.no_grad():
            answer = self._model(torch.as_tensor(sequences))
        found: NDArray[Any] = (answer if self._model.spec.task == "regression" else answer.argmax(dim=-1)).numpy()
        return found


def _load_pyfunc(path: str) -> Served:
    """Called by MLflow with the model's ``data`` folder; nothing in it is executed."""
    from rnn_sweep.models import load_weights

    return Served(load_weights(Path(path) / WEIGHTS_FILE))
