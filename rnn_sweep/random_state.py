"""The states of the process's random generators: ``random``, numpy and torch."""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from typing import Any


def fix_seeds(seed: int) -> None:
    """Seed the generators of ``random``, numpy and torch, those that have been imported."""
    random.seed(seed)
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed(seed % 2**32)
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(seed)


def random_states() -> dict[str, Any]:
    """The state of the generators of ``random``, numpy and torch."""
    import torch

    states: dict[str, Any] = {"random": random.getstate(), "torch": torch.get_rng_state()}
    if (numpy := sys.modules.get("numpy")) is not None:
        name, keys, *rest = numpy.random.get_state()
        states["numpy"] = (name, keys.tolist(), *rest)
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def restore_random(states: Mapping[str, Any]) -> None:
    """The inverse of :func:`random_states`."""
    import torch

    random.setstate(states["random"])
    torch.set_rng_state(states["torch"])
    if "numpy" in states:
        import numpy as np

        np.random.set_state(states["numpy"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])
