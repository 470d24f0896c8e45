"""A trained network as an MLflow model of a run."""

from __future__ import annotations

import copy
import platform
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rnn_sweep import serving
from rnn_sweep.files import WEIGHTS_FILE
from rnn_sweep.provenance import pinned

if TYPE_CHECKING:
    import numpy as np
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.models import Model
    from mlflow.models.signature import ModelSignature
    from numpy.typing import NDArray

    from rnn_sweep.models import ModelSpec, Network


def log_model(
    client: MlflowClient,
    run: Run,
    model: Network,
    example: NDArray[np.float32],
    *,
    params: Mapping[str, str],
    step: int,
) -> str:
    """Record ``model`` as the run's MLflow model ``model`` and return its model id.

    What ``mlflow.pytorch.log_model`` does, through the client: that function works on the one active run of
    the process. ``mlflow.pytorch.load_model`` gives the network, from a pickle (MLflow's pickle-free format traces
    the network, which takes 4 s). ``mlflow.pyfunc.load_model``, ``mlflow models serve`` and ``predict`` give classes
    or values, by :mod:`rnn_sweep.serving`, from a weight file that executes nothing.

    Args:
        client: client of the store that holds the run.
        run: whose model it is.
        model: the network.
        example: float32 [1, T, I], from which the signature's shapes are taken.
        params: parameters shown beside the model.
        step: last epoch of the run.
    """
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.models import Model

    served = copy.deepcopy(model).cpu().eval()
    kind = "regressor" if model.spec.task == "regression" else "classifier"
    run_id = run.info.run_id
    entry = client.create_logged_model(
        run.info.experiment_id, name="model", source_run_id=run_id, params=dict(params), model_type=kind
    )
    described = Model(
        artifact_path=entry.artifact_location,
        model_uuid=entry.model_id,
        run_id=run_id,
        model_id=entry.model_id,
        signature=_signature(model.spec, example),
    )
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder), served, described)
        client.log_model_artifacts(entry.model_id, folder)
    client.finalize_logged_model(entry.model_id, LoggedModelStatus.READY)
    client.log_outputs(run_id, [LoggedModelOutput(entry.model_id, step=step)])
    return str(entry.model_id)


def _write(folder: Path, model: Network, described: Model) -> None:
    """Write what ``mlflow.pytorch.save_model`` writes, https://mlflow.org/docs/latest/ml/model/#storage-format.

    That function compares the requirements with every file of every installed package: 0.5 s and more.
    """
    import mlflow.pyfunc
    import torch
    import yaml

    from rnn_sweep.models import save_weights
    from rnn_sweep.tracking.module import without_lightning

    with without_lightning():
        from mlflow.pytorch import pickle_module

    requirements = pinned("mlflow", "torch", "numpy", "safetensors", "rnn-sweep")
    python = platform.python_version()
    conda = {
        "name": "mlflow-env",
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": requirements}],
    }
    data = folder / "data"
    data.mkdir()
    torch.save(model, data / "model.pth", pickle_module=pickle_module)
    save_weights(model, model.spec, data / WEIGHTS_FILE)
    (data / "pickle_module_info.txt").write_text(pickle_module.__name__)
    (folder / "requirements.txt").write_text("\n".join(requirements) + "\n")
    (folder / "conda.yaml").write_text(yaml.safe_dump(conda, sort_keys=False))
    (folder / "python_env.yaml").write_text(
        yaml.safe_dump({"python": python, "build_dependencies": ["pip"], "dependencies": ["-r requirements.txt"]})
    )
    described.add_flavor("pytorch", model_data="data", pytorch_version=str(torch.__version__), code=None)
    mlflow.pyfunc.add_to_model(
        described,
        loader_module=serving.__name__,
        data="data",
        conda_env="conda.yaml",
        python_env="python_env.yaml",
    )
    described.model_size_bytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    described.save(str(folder / "MLmodel"))


def _signature(spec: ModelSpec, example: NDArray[np.float32]) -> ModelSignature:
    """Sequences to classes, to one for each step, or to the values of a regression."""
    import numpy as np
    from mlflow.models.signature import ModelSignature
    from mlflow.types.schema import Schema, TensorSpec

    if spec.task == "regression":
        answers = TensorSpec(np.dtype(np.float32), (-1, spec.outputs))
    else:
        answers = TensorSpec(np.dtype(np.int64), (-1, *example.shape[1:2]) if spec.per_step else (-1,))
    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, *example.shape[1:]))]),
        outputs=Schema([answers]),
    )
