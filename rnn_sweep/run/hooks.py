"""What an application may tell the bridge beside its training function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig


@dataclass(frozen=True)
class Hooks:
    """Functions that an application gives to :func:`rnn_sweep.main`; all of them may be left out.

    They must be functions of a module, for they travel to worker processes. A mistake of the user's is raised as
    :class:`rnn_sweep.UserError`.
    """

    parse: Callable[[DictConfig | Mapping[str, Any]], Mapping[str, Any]] | None = None
    """Turns a composed configuration, or one that it has returned before, into what the training function gets and what
    is recorded: a mapping of plain values, with the keys ``seed``, ``objective``, ``trial`` and ``tracking``."""
    check: Callable[[Any, Mapping[str, Any] | None], None] | None = None
    """``(cfg, kept)``: refuses what can be refused before anything of a run or a sweep is made. ``kept`` are the saved
    states that the run would go on from, by name; None where it begins."""
    notice: Callable[[Any], None] | None = None
    """Says once, before a sweep, what its jobs would say in their own logs only."""
    metrics: Callable[[Any], Sequence[str]] | None = None
    """The names of the metrics that an outcome may have: what ``hydra.sweeper.constraints`` may speak of."""
    alone: Callable[[Any], str] | None = None
    """Why a run cannot be trained by one of several threads of a process, in a few words, or nothing: then
    ``hydra/launcher=threads`` trains many at once. Such a function draws from generators of its own."""
    decides: Callable[[Any], object] | None = None
    """All that decides what a run brings, as JSON could hold it, for a sweep that runs nothing twice; None where chance
    has a part. Without it ``deterministic`` of :func:`rnn_sweep.main` says whether the configuration decides."""
    resume: str | None = None
    """Key of a setting that names the folder of a run which was cut off: it goes on with its recorded settings, and a
    new run refuses a folder that holds another."""
    further: Sequence[str] = ()
    """Keys of settings that may be given beside ``resume``, the number of epochs first: with more of them, a run that
    has ended is trained further, as a new one."""
    mutable: Sequence[str] = ()
    """Patterns of the keys of settings that can be changed for a network which has been trained for a while, such as
    ``optimizer.*``: what ``hydra/sweeper=pbt`` may change."""
    schedule: str | None = None
    """Key of a setting that names a file with a schedule of settings, as ``hydra/sweeper=pbt`` writes it: the run
    replays it. The configuration may also hold such a schedule itself there; else it is null."""
    own_keys: bool = False
    """The application's configuration declares ``seed``, ``objective``, ``trial`` and ``tracking`` itself."""
