"""What a training function keeps: saved with every epoch, put back where a run goes on."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from rnn_sweep.errors import UserError
from rnn_sweep.run import resettled

_CONSTANTS = (bool, int, float, str, bytes, type(None))


class Kept:
    """The things of one run, in the order in which they were kept.

    Args:
        states: those that an earlier try saved, by name; None where the run begins.
        changed: whether settings of the run have changed since. Then a torch optimiser takes its state (moments, step
            counts) from the checkpoint and its settings (rate, weight decay, betas) from the configuration, and a
            schedule goes on from where it is, relative to the new rate.
    """

    def __init__(self, states: Mapping[str, Any] | None, *, changed: bool = False) -> None:
        self._states, self._changed = states, changed
        self._things: dict[str, Any] = {}

    def add(self, thing: Any, name: str | None) -> Any:
        """Keep a thing, and put the saved state back into it; returns it, or the saved value of a plain one.

        Raises:
            UserError: it has no state that could be saved, or the saved one is another thing's.
        """
        key = name or f"{type(thing).__name__} {len(self._things) + 1}"
        if key in self._things:
            raise UserError(f"run.keep: every name must be kept once, got {key!r} again")
        check_plain(f"run.keep({type(thing).__name__})", self._state(thing))
        if self._states is not None:
            if key not in self._states:
                raise UserError(f"run.keep: the checkpoint has {', '.join(self._states)}, got {key!r}")
            state = self._states[key]
            thing = _restored(key, thing, resettled.while_built(thing, state) if self._changed else state)
        self._things[key] = thing
        return thing

    def restore(self) -> None:
        """Put every saved state back once more: making a scheduler changes the optimiser that was kept before it."""
        if self._states is None:
            return
        for key, thing in self._things.items():
            state = self._states[key]
            _restored(key, thing, resettled.once_built(thing, state) if self._changed else state)

    def states(self) -> dict[str, Any]:
        """The state of everything that is kept, for a checkpoint.

        Raises:
            UserError: a thing has come to hold something that could not be read back, such as a list a numpy number.
        """
        found = {key: self._state(thing) for key, thing in self._things.items()}
        for key, state in found.items():
            check_plain(f"run.keep: {key}", state)
        return found

    @staticmethod
    def _state(thing: Any) -> Any:
        return thing.state_dict() if _has_state(thing) else thing


def _has_state(thing: Any) -> bool:
    return not isinstance(thing, type) and hasattr(thing, "state_dict") and hasattr(thing, "load_state_dict")


def _restored(key: str, thing: Any, state: Any) -> Any:
    if _has_state(thing):
        try:
            thing.load_state_dict(state)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:  # torch's own, and those of a user's class
            reason = " ".join(str(error).split())[:300]
            raise UserError(f"run.keep: {key} does not take the state in the checkpoint: {reason}") from error
        return thing
    if isinstance(thing, dict):
        thing.clear()
        thing.update(state)
    elif isinstance(thing, list):
        thing[:] = state
    elif _is_tensor(thing):
        thing.detach().copy_(state)
    else:
        return state
    return thing


def check_plain(name: str, value: Any) -> None:
    """Check that a checkpoint can hold ``value`` and give it back without executing anything.

    Raises:
        UserError: it is, or contains, something else than tensors and plain values.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            check_plain(f"{name}[{key!r}]", item)
    elif isinstance(value, list | tuple | set):
        for item in value:
            check_plain(f"{name}[…]", item)
    elif type(value) not in _CONSTANTS and not _of_torch(value):
        rule = "must have state_dict and load_state_dict, or be made of tensors and plain values"
        hint = "; .tolist() or torch.from_numpy makes it one" if type(value).__module__ == "numpy" else ""
        raise UserError(f"{name} {rule}, got {type(value).__module__}.{type(value).__qualname__}{hint}")


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _of_torch(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor | torch.Size | torch.dtype | torch.device)
