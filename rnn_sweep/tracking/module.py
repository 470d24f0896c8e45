"""Any torch module as an MLflow model of a run."""

from __future__ import annotations

import copy
import logging
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnn_sweep.provenance import pinned

if TYPE_CHECKING:
    import torch
    from mlflow import MlflowClient


def save_module(folder: Path, module: torch.nn.Module, example: object) -> None:
    """Write what ``mlflow.pytorch.load_model`` loads, replacing what is in the folder.

    Args:
        folder: of the model.
        module: on any device, in any mode; it stays as it is.
        example: an input, for the signature; None writes none.
    """
    with without_lightning():
        import mlflow.pytorch

    served = copy.deepcopy(module).cpu().eval()
    shutil.rmtree(folder, ignore_errors=True)
    with _no_remark():
        mlflow.pytorch.save_model(
            served,
            folder,
            signature=None if example is None else _signature(served, example),
            pip_requirements=pinned("mlflow", "torch", "numpy"),  # what MLflow would find out takes seconds
            serialization_format="pickle",  # the pickle-free format traces the module: seconds, and not every one
        )


@contextmanager
def without_lightning() -> Iterator[None]:
    """Keep ``mlflow.pytorch`` from importing Lightning, where it is installed and this program has not: seconds a run.

    MLflow does so for a callback of its own, and goes without where the import fails; autologging imports it later.
    """
    name = "mlflow.pytorch._lightning_autolog"
    if name in sys.modules or "mlflow.pytorch" in sys.modules or "pytorch_lightning" in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]


@contextmanager
def _no_remark() -> Iterator[None]:
    """Keep MLflow from its remark that a pickle is one; its loggers above are another thread's meanwhile."""
    logger = logging.getLogger("mlflow.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _signature(module: torch.nn.Module, example: Any) -> Any:
    import torch
    from mlflow.models import infer_signature

    inputs = torch.as_tensor(example).cpu()
    with torch.no_grad():
        outputs = module(inputs)
    if not isinstance(outputs, torch.Tensor):
        return infer_signature(inputs.numpy())
    return infer_signature(inputs.numpy(), outputs.numpy())


def log_saved(
    client: MlflowClient, experiment_id: str, run_id: str, folder: Path, params: Mapping[str, str], step: int
) -> None:
    """Record a saved model as the run's MLflow model ``model``."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.models import Model

    entry = client.create_logged_model(experiment_id, name="model", source_run_id=run_id, params=dict(params))
    described = Model.load(str(folder))
    described.artifact_path, described.run_id = entry.artifact_location, run_id
    described.model_uuid = described.model_id = entry.model_id
    described.save(str(folder / "MLmodel"))
    client.log_model_artifacts(entry.model_id, str(folder))
    client.finalize_logged_model(entry.model_id, LoggedModelStatus.READY)
    client.log_outputs(run_id, [LoggedModelOutput(entry.model_id, step=step)])
