"""Addresses of pages in MLflow's UI, which open the right view without a click."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from rnn_sweep.errors import UserError
from rnn_sweep.provenance import console_script
from rnn_sweep.redaction import mask
from rnn_sweep.tracking.reading import SHORT, find_run, reading
from rnn_sweep.tracking.sqlite import absolute
from rnn_sweep.tracking.store import Store, open_store, quiet
from rnn_sweep.tracking.views import TAG, trials_of

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowEntity

    from rnn_sweep.config import TrackingConfig

LOCAL = "http://127.0.0.1:5000"
"""Where ``mlflow ui`` and ``rnn-sweep ui`` listen unless they are told otherwise."""
VIEW = "workflowType=machine_learning"
"""Without it MLflow opens its view for generative AI, which shows no run."""


@dataclass(frozen=True)
class Page:
    """A page of the UI."""

    path: str
    """What follows the server's address."""
    run_id: str
    """A run that a server on the same store has."""


def run_path(experiment: str, run_id: str) -> str:
    """The curves of a run."""
    return f"/#/experiments/{experiment}/runs/{run_id}/model-metrics?{VIEW}"


def sweep_path(experiment: str, run_id: str) -> str:
    """The table and charts of a sweep's trials, in the view that was made for it (:mod:`rnn_sweep.tracking.views`)."""
    return f"/#/experiments/{experiment}/runs?{VIEW}&viewStateShareKey={run_id}"


def addresses(config: TrackingConfig, run_id: str) -> dict[str, str]:
    """Addresses of the pages of a sweep and of the trials below it, as text that can be kept.

    Args:
        config: where the sweep is recorded.
        run_id: its run.

    Returns:
        ``server``, the address before the others; ``sweep``, the path of its page; ``run``, that of any run in the same
        experiment, with ``{run_id}`` in it; and where the server is none that is always there ``command``, which starts
        it. Nothing where the store does not answer.
    """
    from mlflow.exceptions import MlflowException

    try:
        store = open_store(config)
        with quiet():
            experiment = str(store.client.get_run(run_id).info.experiment_id)
    except (UserError, MlflowException, OSError):
        return {}
    remote = store.uri.startswith("http")
    where = {"server": mask(store.uri).rstrip("/")} if remote else {"server": LOCAL, "command": command(store)}
    return {**where, "sweep": sweep_path(experiment, run_id), "run": run_path(experiment, "{run_id}")}


def way_in(store: Store, experiment: str, run_id: str, *, sweep: bool) -> str:
    """What opens the page of a run: its address on a server; else the command that starts one, and the address there.

    Args:
        store: where the run is.
        experiment: id of the run's experiment.
        run_id: the run.
        sweep: whether it is the parent run of a sweep.
    """
    path = (sweep_path if sweep else run_path)(experiment, run_id)
    if store.uri.startswith("http"):
        return mask(store.uri).rstrip("/") + path
    return f"{command(store, run_id[:SHORT])}\n{LOCAL}{path}"


def command(store: Store, name: str = "") -> str:
    """The command that opens the UI on a store from this folder."""
    known = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path.cwd() / 'mlflow.db'}"
    with suppress(UserError):  # what the variable names is not the store of this run, and no address of one
        known = absolute(known)[0] if known.startswith("sqlite") else known
    options = [] if known == store.uri else ["--tracking-uri", mask(store.uri)]
    return shlex.join([console_script(), "ui", *([name] if name else []), *options])


def find_page(store: Store, name: str | None) -> Page:
    """The page of a run (its id or the beginning of it) or of a sweep (also its study's name).

    Without a name it is the table of the latest run's experiment.

    Raises:
        UserError: there is no such run or sweep, or none at all; the message lists the nearest.
    """
    if name is None:
        latest = _search(store, None)
        if latest is None:
            raise UserError("there are no runs yet: `rnn-sweep train` makes the first")
        return Page(f"/#/experiments/{latest.info.experiment_id}/runs?{VIEW}", latest.info.run_id)
    found = None if "'" in name else _search(store, f"tags.sweep = '{name}'")
    if found is None:
        run_id = find_run(store, name).run_id
        with reading(store), quiet():
            found = store.client.get_run(run_id)
    info = found.info
    if "sweep" not in found.data.tags:
        return Page(run_path(info.experiment_id, info.run_id), info.run_id)
    with reading(store), quiet():
        views = store.client.get_experiment(info.experiment_id).tags
    if f"{TAG}{info.run_id}" in views:
        return Page(sweep_path(info.experiment_id, info.run_id), info.run_id)
    trials = quote(trials_of(info.run_id), safe="")  # of a sweep that was recorded before there were views
    return Page(f"/#/experiments/{info.experiment_id}/runs?{VIEW}&searchFilter={trials}", info.run_id)


def _search(store: Store, wanted: str | None) -> MlflowEntity | None:
    """The latest run that meets a filter."""
    with reading(store), quiet():
        experiments = [each.experiment_id for each in store.client.search_experiments()]
        newest = ["attributes.start_time DESC"]
        found = store.client.search_runs(experiments, wanted or "", max_results=1, order_by=newest)
    return found[0] if found else None
