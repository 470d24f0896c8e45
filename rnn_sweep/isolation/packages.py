"""State of torch, numpy and matplotlib, where somebody has imported them."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from rnn_sweep.isolation.kinds import Restore


@dataclass(frozen=True)
class _Setting:
    """A process-wide setting of a package that need not be there; ``default`` is what it is after an import."""

    package: str
    name: str
    get: Callable[[Any], Any]
    set: Callable[[Any, Any], object]
    default: Callable[[Any], Any]


_SETTINGS = (
    _Setting(
        "torch",
        "default dtype",
        lambda t: t.get_default_dtype(),
        lambda t, v: t.set_default_dtype(v),
        lambda t: t.float32,
    ),
    _Setting(
        "torch",
        "default device",
        lambda t: str(t.get_default_device()),
        lambda t, v: t.set_default_device(None if v == "cpu" else v),
        lambda t: "cpu",
    ),
    _Setting("torch", "gradients", lambda t: t.is_grad_enabled(), lambda t, v: t.set_grad_enabled(v), lambda t: True),
    _Setting(
        "torch",
        "deterministic algorithms",
        lambda t: (t.are_deterministic_algorithms_enabled(), t.is_deterministic_algorithms_warn_only_enabled()),
        lambda t, v: t.use_deterministic_algorithms(v[0], warn_only=v[1]),
        lambda t: (False, False),
    ),
    _Setting(
        "torch",
        "precision of float32 products",
        lambda t: t.get_float32_matmul_precision(),
        lambda t, v: t.set_float32_matmul_precision(v),
        lambda t: "highest",
    ),
    _Setting(
        "torch",
        "anomaly detection",
        lambda t: t.is_anomaly_enabled(),
        lambda t, v: t.autograd.set_detect_anomaly(v),
        lambda t: False,
    ),
    _Setting(
        "torch.distributed",
        "process group",
        lambda d: d.is_available() and d.is_initialized(),
        lambda d, v: None if v else d.destroy_process_group(),
        lambda d: False,
    ),
    _Setting(
        "numpy",
        "treatment of errors",
        lambda n: n.geterr(),
        lambda n, v: n.seterr(**v),
        lambda n: {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"},
    ),
)


def settings() -> Restore:
    """Keep what :data:`_SETTINGS` lists."""
    before = {each: each.get(module) for each in _SETTINGS if (module := _module(each.package)) is not None}

    def restore(failed: bool) -> str:
        changed = []
        for each in _SETTINGS:
            if (module := _module(each.package)) is None:
                continue
            was = before[each] if each in before else each.default(module)
            if each.get(module) != was:
                each.set(module, was)
                changed.append(f"{each.name} of {each.package}")
        return ", ".join(changed)

    return restore


def generators() -> Restore:
    """Each job begins with random states that do not depend on what jobs before it have drawn or seeded.

    They follow from those before them: a program that seeds is repeated exactly, and one that does not has other
    numbers in each job.
    """
    state, numpy, torch = random.getstate(), _module("numpy"), _module("torch")
    of_numpy = None if numpy is None else numpy.random.get_state()
    of_torch = None if torch is None else torch.get_rng_state()

    def restore(failed: bool) -> str:
        random.setstate(state)
        random.seed(random.getrandbits(64))
        if (numpy := _module("numpy")) is not None:
            numpy.random.set_state(numpy.random.RandomState().get_state() if of_numpy is None else of_numpy)
            numpy.random.seed(numpy.random.randint(2**32, dtype=numpy.uint32))
        if (torch := _module("torch")) is not None:
            torch.set_rng_state(torch.Generator().get_state() if of_torch is None else of_torch)
            torch.manual_seed(int(torch.randint(2**63 - 1, (), device="cpu")))  # of all devices
        return ""  # each job draws

    return restore


def figures() -> Restore:
    """Close the figures of pyplot that a job has left open."""
    before = _open_figures()

    def restore(failed: bool) -> str:
        left = _open_figures() - before
        for number in left:
            sys.modules["matplotlib.pyplot"].close(number)
        return f"{len(left)} open figures of matplotlib" if left else ""

    return restore


def _open_figures() -> set[int]:
    pyplot = _module("matplotlib.pyplot")
    return set() if pyplot is None else set(pyplot.get_fignums())


def _module(name: str) -> Any:
    found: ModuleType | None = sys.modules.get(name)
    return found
