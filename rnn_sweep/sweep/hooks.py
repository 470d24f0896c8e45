"""What an application may hang on its task function, to take part in a sweep beyond running jobs.

All are optional attributes of the function under ``@hydra.main`` (``main.__wrapped__`` from outside):

``rnn_sweep_validate(cfg)``
    Check a composed configuration before anything runs; raise :class:`~rnn_sweep.errors.UserError`.
``rnn_sweep_begin(cfg, study_name, storage, known, space)``
    Called once before the first trial with the application's defaults; returns the id of a run that the
    trials are children of, or None. ``known`` is the id that an earlier sweeper on the study had from it, or
    None; ``space`` maps the parameters to their values in words. Jobs find the id as ``trial.parent_run_id``.
``rnn_sweep_objectives(cfg)``
    The names of the values that a job returns, given the application's defaults; reports and plots show them.
``rnn_sweep_heeds_stop``
    True where jobs ask :attr:`rnn_sweep.trial.Reporter.stopping` after each step and then end as interrupted. The first
    Ctrl-C lets jobs of other applications run to their end.
``rnn_sweep_settle(parent_run_id, running)``
    Called when jobs may have died, and after the last trial: closes what they left open. ``running``
    returns the numbers of the trials that have a job at that moment.
``rnn_sweep_end(parent_run_id, summary)``
    Called once after the last trial with a mapping that JSON could hold:

    - ``reason``: why the sweep ended; ``trials``: how many it had;
    - ``best``: ``{number, values, params, run_id}``, or None;
    - ``counts``: trials by state; ``epochs``: ``{trained, saved}``, or None;
    - ``note``: a summary in Markdown; ``files``: paths of the report and its pictures; ``command``.

    A grid ends with ``reason`` and ``trials``, and where its report was written with ``best``, ``counts``, ``note`` and
    ``files``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra.types import TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from optuna import Study

PARENT_ATTR = "parent_run_id"
"""Study attribute: what ``rnn_sweep_begin`` returned."""


def begin(task: TaskFunction, cfg: DictConfig, study: Study, storage: str, space: Mapping[str, str]) -> str | None:
    """Let the application open a parent run; its id stays with the study."""
    hook = getattr(task, "rnn_sweep_begin", None)
    if hook is None:
        return None
    known = study.user_attrs.get(PARENT_ATTR)
    parent: str | None = hook(cfg, study.study_name, storage, known, space)
    if parent is not None and parent != known:
        study.set_user_attr(PARENT_ATTR, parent)
    return parent


def objectives(task: TaskFunction, cfg: DictConfig) -> Sequence[str] | None:
    """The names of the objectives, where the application tells them."""
    hook = getattr(task, "rnn_sweep_objectives", None)
    return None if hook is None else list(hook(cfg))


def heeds_stop(task: TaskFunction) -> bool:
    """Whether the application's jobs end early when they are asked to."""
    return bool(getattr(task, "rnn_sweep_heeds_stop", False))


def settle(task: TaskFunction, parent_run_id: str | None, study: Study) -> None:
    """Let the application close what jobs that died left open."""
    from optuna.trial import TrialState

    hook = getattr(task, "rnn_sweep_settle", None)
    if hook is not None and parent_run_id is not None:

        def running() -> set[int]:
            return {t.number for t in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))}

        hook(parent_run_id, running)


def end(task: TaskFunction, parent_run_id: str | None, summary: Mapping[str, Any]) -> None:
    """Let the application close its parent run."""
    hook = getattr(task, "rnn_sweep_end", None)
    if hook is not None:
        hook(parent_run_id, summary)
