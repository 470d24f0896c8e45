"""Weight files: safetensors, which hold tensors and strings and execute nothing; the model's shape travels along."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from rnn_sweep.errors import UserError
from rnn_sweep.files import replacing
from rnn_sweep.models.building import Network, network
from rnn_sweep.models.recurrent import ModelSpec

_SPEC = "rnn_sweep.model_spec"


def save_weights(model: Network, spec: ModelSpec, path: Path) -> None:
    """Write the model's ``state_dict`` and its shape; the file appears whole or not at all."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={_SPEC: json.dumps(dataclasses.asdict(spec))})


def load_weights(path: Path) -> Network:
    """Read a file of :func:`save_weights` into a model in evaluation mode, on the CPU.

    Raises:
        UserError: the file is not there, damaged, or not one of ours.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError) as error:
        raise UserError(f"weight file {str(path)!r} cannot be read: {error}") from error
    if _SPEC not in metadata:
        raise UserError(f"weight file {str(path)!r} must be one that rnn-sweep wrote; its metadata are {metadata}")
    model = network(ModelSpec(**json.loads(metadata[_SPEC])))
    model.load_state_dict(tensors)
    return model.eval()
