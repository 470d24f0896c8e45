"""What a trial's configuration is known by: equal fingerprints have equal outcomes.

A fingerprint is the digest of all that decides an outcome: the resolved configuration of the job, seed included, with
what the application adds to it or leaves out (:mod:`rnn_sweep.sweep.hooks`: ``rnn_sweep_deterministic``), the seeds of
replicates, the program and the version of its code. Hydra's node and the trial's identity are no part of it, and
folders that Hydra gives to a job are the same for all, so that a checkpoint's path in them makes no difference;
``hydra.job.num`` is a job's own, since a seed may follow from it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from rnn_sweep.current_config import as_current
from rnn_sweep.errors import UserError
from rnn_sweep.provenance import code_version, program

Decides = Callable[[DictConfig], object]
"""From a job's configuration to all that decides its outcome; None where nothing does."""

_FOLDERS = ("sweep.dir", "sweep.subdir", "run.dir", "runtime.output_dir")
"""Of Hydra's node."""


@dataclass(frozen=True)
class Fingerprints:
    """Takes the fingerprints of one sweep's trials."""

    config: DictConfig
    """Of the sweep."""
    loader: ConfigLoader
    decides: Decides
    seeds: Sequence[int]
    """Of a trial's replicates."""
    origin: str | None
    """Digest of program and code; None where the code's version is not known: then a fingerprint holds within one
    study."""

    def take(self, overrides: Sequence[str], index: int, study: str) -> str | None:
        """The fingerprint of a trial; None where its configuration does not decide its outcome.

        Args:
            overrides: of the trial, without its identity.
            index: Hydra's number of its first job.
            study: what tells the study from others.
        """
        try:
            decisive = self._decisive(overrides, index)
        except (HydraException, OmegaConfBaseException, UserError, ValueError):
            return None  # the job itself will say what is wrong
        return None if decisive is None else digest([decisive, list(self.seeds), self.origin or study])

    def _decisive(self, overrides: Sequence[str], index: int) -> object:
        job = self.loader.load_sweep_config(self.config, list(overrides))
        with read_write(job.hydra), open_dict(job.hydra):
            for key in _FOLDERS:
                OmegaConf.update(job.hydra, key, "folder")
            job.hydra.job.num, job.hydra.job.id = index, str(index)
        with as_current(job) if _asks_hydra(job) else nullcontext():
            return self.decides(job)


def fingerprints(
    config: DictConfig, loader: ConfigLoader, hook: bool | Decides, seeds: Sequence[int]
) -> Fingerprints | None:
    """What takes the fingerprints of a sweep's trials; None of an application that does not say it is deterministic.

    Args:
        config: of the sweep.
        loader: composes its jobs.
        hook: the application's ``rnn_sweep_deterministic``.
        seeds: of a trial's replicates.
    """
    if hook is False or hook is None:
        return None
    code = code_version()
    origin = None if code is None else digest([*program(), str(config.hydra.job.name), code])
    return Fingerprints(config, loader, resolved if hook is True else hook, list(seeds), origin)


def resolved(job: DictConfig) -> object:
    """A job's resolved configuration without Hydra's node. Raises what OmegaConf does where it cannot be resolved."""
    # Key by key: a copy without Hydra's node would take longer than all the rest.
    return {str(key): _value(job, str(key)) for key in job if key != "hydra"}


def digest(value: object) -> str:
    """SHA-256 of what JSON could hold; other objects count by their text."""
    text = json.dumps(_spelled(value), sort_keys=True)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _value(job: DictConfig, key: str) -> Any:
    value: Any = "???" if OmegaConf.is_missing(job, key) else job[key]
    return OmegaConf.to_container(value, resolve=True, enum_to_str=True) if OmegaConf.is_config(value) else value


def _asks_hydra(job: DictConfig) -> bool:
    """Whether something in the application's part of the configuration follows from Hydra's."""
    written: Any = OmegaConf.to_container(job, resolve=False)
    return "${hydra:" in str({key: value for key, value in written.items() if key != "hydra"})


def _spelled(value: object) -> object:
    """``value`` with texts for keys and for what JSON does not know; 1, 1.0 and True stay apart."""
    if isinstance(value, Mapping):
        return {str(key): _spelled(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_spelled(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)
