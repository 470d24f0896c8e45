"""Hooks: what an application may hang on its task function, to take part in a sweep beyond running jobs.

All are optional attributes of the function under ``@hydra.main`` (``main.__wrapped__`` from outside):

``rnn_sweep_validate(cfg)``
    Check a composed configuration before anything runs; raise :class:`~rnn_sweep.errors.UserError`.
``rnn_sweep_check(cfg)``
    Called once, with the application's defaults, before a sweep or a grid makes anything; raises
    :class:`~rnn_sweep.errors.UserError` where it cannot be recorded: what ``rnn_sweep_begin`` will need is not there.
``rnn_sweep_begin(cfg, study_name, storage, known, space)``
    Called once before the first trial with the application's defaults; returns the id of a run that the
    trials are children of, or None. ``known`` is the id that an earlier sweeper on the study had from it, or
    None; ``space`` maps the parameters to their values in words. Jobs find the id as ``trial.parent_run_id``.
``rnn_sweep_pages(parent_run_id)``
    Where a browser shows what is recorded, as :func:`rnn_sweep.tracking.pages.addresses` gives it; kept with the study,
    so that its report links each trial.
``rnn_sweep_objectives(cfg)``
    The names of the values that a job returns, given the application's defaults; reports and plots show them. None are
    told by an empty list.
``rnn_sweep_metrics(cfg)``
    The names of the metrics that a job's outcome may have: what ``hydra.sweeper.constraints`` may speak of.
``rnn_sweep_deterministic``
    Says that equal configurations have equal outcomes, so that none is run twice (``hydra.sweeper.reuse``): True where
    the resolved configuration decides an outcome, or a function ``(cfg)`` of a job's configuration that returns all
    that does, as JSON could hold it, and None where nothing does.
``rnn_sweep_heeds_stop``
    True where jobs ask :attr:`rnn_sweep.trial.Reporter.stopping` after each step and then end as interrupted. The first
    Ctrl-C lets jobs of other applications run to their end.
``rnn_sweep_settle(parent_run_id, running)``
    Called when jobs may have died, and after the last trial: closes what they left open. ``running``
    returns the numbers of the trials that have a job at that moment.
``rnn_sweep_reused(parent_run_id, trial)``
    Called with each trial that took the outcome of an earlier run instead of running (``hydra.sweeper.reuse``), a
    mapping: ``study_name`` and ``number``; ``params`` and ``values``; ``of``, the ``{study, trial}`` that ran, and its
    ``run_id``.
``rnn_sweep_segments``
    Says that a job can go on from the checkpoint of another, as ``hydra/sweeper=pbt`` wants it: a mapping with patterns
    of the keys that may change while a network is trained, ``mutable``; ``epochs``, the key of the number of epochs,
    and ``schedule``, that of a file which :func:`rnn_sweep.sweep.lineage.write` has written, either of them or None.
``rnn_sweep_thread``
    What trains a job in a thread of the launcher ``threads``, see :func:`rnn_sweep.run.decorator.as_task`.
``rnn_sweep_end(parent_run_id, summary)``
    Called once after the last trial with a mapping that JSON could hold:

    - ``reason``: why the sweep ended; ``trials``: how many it had; ``reused``: how many of them did not run;
    - ``best``: ``{number, values, params, run_id}``, with ``mean`` and ``margin`` (half of its 95 % interval) where it
      was confirmed with more seeds, or None;
    - ``counts``: trials by state; ``epochs``: ``{trained, saved}``, or None;
    - ``note``: a summary in Markdown; ``files``: paths of the report and its pictures; ``command``.

    A grid ends with ``reason`` and ``trials``, and where its report was written with ``best``, ``counts``, ``note`` and
    ``files``. It may return what opens the parent run's page, one line or several, which the sweep prints last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from hydra.types import TaskFunction
from omegaconf import DictConfig

from rnn_sweep.sweep.study import REUSED_ATTR

if TYPE_CHECKING:
    from optuna import Study

PARENT_ATTR = "parent_run_id"
"""Study attribute: what ``rnn_sweep_begin`` returned."""
PAGES_ATTR = "pages"
"""Study attribute: what ``rnn_sweep_pages`` returned."""


@dataclass(frozen=True)
class Hooks:
    """The hooks of a task function: each field is the attribute ``rnn_sweep_`` + its name, None where it has none."""

    validate: Callable[[DictConfig], object] | None = None
    check: Callable[[DictConfig], object] | None = None
    begin: Callable[..., str | None] | None = None
    pages: Callable[[str], Mapping[str, str]] | None = None
    objectives: Callable[[DictConfig], Sequence[str]] | None = None
    metrics: Callable[[DictConfig], Sequence[str]] | None = None
    deterministic: bool | Callable[[DictConfig], object] = False
    heeds_stop: bool = False
    settle: Callable[..., object] | None = None
    reused: Callable[..., object] | None = None
    segments: Mapping[str, Any] | None = None
    thread: Callable[..., Any] | None = None
    end: Callable[..., object] | None = None

    @classmethod
    def of(cls, task: TaskFunction) -> Hooks:
        """Look up the hooks of ``task``."""
        found = {each.name: getattr(task, f"rnn_sweep_{each.name}", None) for each in fields(cls)}
        return cls(**{name: hook for name, hook in found.items() if hook is not None})

    def check_recordable(self, cfg: DictConfig) -> None:
        """Let the application refuse a sweep that it could not record, before there is a study."""
        if self.check is not None:
            self.check(cfg)

    def open_parent(self, cfg: DictConfig, study: Study, storage: str, space: Mapping[str, str]) -> str | None:
        """Let the application open a parent run; its id stays with the study."""
        if self.begin is None:
            return None
        known = study.user_attrs.get(PARENT_ATTR)
        parent = self.begin(cfg, study.study_name, storage, known, space)
        if parent is not None and parent != known:
            study.set_user_attr(PARENT_ATTR, parent)
        pages = self.pages_of(parent)
        if pages and pages != study.user_attrs.get(PAGES_ATTR):
            study.set_user_attr(PAGES_ATTR, pages)
        return parent

    def pages_of(self, parent_run_id: str | None) -> dict[str, str]:
        """Where a browser shows what is recorded; empty where the application does not say."""
        return {} if self.pages is None or parent_run_id is None else dict(self.pages(parent_run_id))

    def objective_names(self, cfg: DictConfig) -> Sequence[str] | None:
        """The names of the objectives, where the application tells them."""
        return None if self.objectives is None else list(self.objectives(cfg)) or None

    def metric_names(self, cfg: DictConfig) -> Sequence[str] | None:
        """The names of the metrics of an outcome, where the application tells them."""
        return None if self.metrics is None else list(self.metrics(cfg))

    def close_stale(self, parent_run_id: str | None, study: Study) -> None:
        """Let the application close what jobs that died left open."""
        from optuna.trial import TrialState

        def running() -> set[int]:
            return {t.number for t in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))}

        if self.settle is not None and parent_run_id is not None:
            self.settle(parent_run_id, running)

    def record_reused(self, parent_run_id: str | None, study: Study, number: int) -> None:
        """Let the application record a trial that took the outcome of an earlier run."""
        trial = study.get_trials(deepcopy=False)[number]
        if self.reused is None or parent_run_id is None or REUSED_ATTR not in trial.user_attrs:
            return
        self.reused(
            parent_run_id,
            {
                "study_name": study.study_name,
                "number": number,
                "params": trial.params,
                "values": list(trial.values or ()),
                "of": trial.user_attrs[REUSED_ATTR],
                "run_id": trial.user_attrs.get("run_id"),
            },
        )

    def close_parent(self, parent_run_id: str | None, summary: Mapping[str, Any]) -> str | None:
        """Let the application close its parent run; returns what opens that run's page, as lines to print."""
        page = None if self.end is None else self.end(parent_run_id, summary)
        return None if page is None else "page:    " + str(page).replace("\n", "\n         ")
