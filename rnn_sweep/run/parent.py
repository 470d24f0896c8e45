"""The MLflow run that a sweep's trials are children of: opened before the first, closed after the last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from omegaconf import DictConfig, OmegaConf

from rnn_sweep.outcome import SCORES, State, maximized

if TYPE_CHECKING:
    from rnn_sweep.config import TrackingConfig
    from rnn_sweep.tracking import Run
    from rnn_sweep.tracking.views import View


class Config(Protocol):
    """What a parent run needs to know of the application's configuration."""

    @property
    def tracking(self) -> TrackingConfig:
        """Where runs are recorded."""

    @property
    def objective(self) -> tuple[str, ...]:
        """What the sweep optimises."""


Read = Callable[[DictConfig], Config]
"""Reads it out of what Hydra composed; raises :class:`UserError` for what does not fit."""


@dataclass(frozen=True)
class Parent:
    """A parent run that is open."""

    run: Run
    config: Config


_open: dict[str, Parent] = {}
"""Parent runs of this process by id: the object stays here, because what hangs on a task function gets pickled."""


def attach(task: Any, read: Read) -> None:
    """Hang the hooks of :mod:`rnn_sweep.sweep.hooks` that a parent run needs on a task function.

    Args:
        task: the function.
        read: a function of a module: what hangs on a task gets pickled.
    """
    task.rnn_sweep_check = partial(check, read)
    task.rnn_sweep_begin = partial(begin, read)
    task.rnn_sweep_pages = pages
    task.rnn_sweep_objectives = partial(objectives, read)
    task.rnn_sweep_heeds_stop = True
    task.rnn_sweep_settle = settle
    task.rnn_sweep_reused = reused
    task.rnn_sweep_end = end


def check(read: Read, cfg: DictConfig) -> None:
    """Check that a sweep can be recorded, before anything of it exists.

    Raises:
        UserError: the configuration or the tracking store is not usable.
    """
    from rnn_sweep import tracking

    tracking.check(read(cfg).tracking)


def begin(
    read: Read, cfg: DictConfig, name: str, storage: str | None, known: str | None, space: Mapping[str, str]
) -> str | None:
    """Open the parent run, or go on with the one that an earlier sweeper of the same study had.

    Args:
        read: reads the configuration.
        cfg: the application's defaults as composed.
        name: the study's name, and the run's.
        storage: where the study is, without a password; None for a grid.
        known: id of the run to go on with.
        space: the parameters and their values in words.

    Returns:
        The run's id, or None when tracking is off.

    Raises:
        UserError: the configuration or the tracking store is not usable.
    """
    from rnn_sweep import tracking

    config = read(cfg)
    tracking.check(config.tracking)
    study = {"name": name} | ({"storage": storage} if storage else {})
    tags = {"sweep": name} | ({"sweep.storage": storage} if storage else {})
    if known is None and storage is not None:  # killed before the study knew of it, or another sweeper is about to
        known = tracking.find_open(config.tracking, tags)
    folder = Path(str(cfg.hydra.sweep.dir)).absolute()
    folder.mkdir(parents=True, exist_ok=True)  # where its records wait for a store that does not answer
    opening = tracking.Opening(
        params={"study": study, "objective": ", ".join(config.objective), "space": dict(space)},
        overrides=[],
        output_dir=folder,
        run_id=known,
        run_name=name,
        tags=tags,
        shared=storage is not None,  # of a study's sweep that was killed the next sweeper takes care
    )
    run = tracking.start_run(config.tracking, opening)
    run.log_view(_view(config, cfg, name, space))
    if run.run_id is not None:
        _open[run.run_id] = Parent(run, config)
    return run.run_id


def _view(config: Config, cfg: DictConfig, name: str, space: Mapping[str, str]) -> View:
    """What the UI shows of the sweep: the objective, the swept parameters, and how objective and loss went."""
    from rnn_sweep.tracking.params import flatten
    from rnn_sweep.tracking.views import View, recorded

    objective = config.objective[0] if config.objective else ""
    curves = dict.fromkeys([*(key for key in config.objective if "/" in key), "val/loss", "train/loss"])
    tree: Any = OmegaConf.to_container(OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"]))
    params = recorded(list(space), flatten(tree))
    return View(name, _RECORDED.get(objective, objective), maximized(objective), list(curves), params)


def objectives(read: Read, cfg: DictConfig) -> list[str]:
    """The names of what a run returns; none where nobody has named them."""
    return list(read(cfg).objective)


def pages(parent_run_id: str) -> dict[str, str]:
    """Where MLflow's UI shows the sweep and its trials, as :func:`rnn_sweep.tracking.pages.addresses` gives it."""
    if parent_run_id not in _open:
        return {}
    from rnn_sweep.tracking.pages import addresses

    return addresses(_open[parent_run_id].config.tracking, parent_run_id)


def settle(parent_run_id: str | None, running: Callable[[], Collection[int]]) -> None:
    """Close the runs of trials whose jobs are gone: those below the parent that are open, but for ``running``."""
    from rnn_sweep import tracking

    if parent_run_id in _open:
        tracking.close_abandoned(_open[parent_run_id].config.tracking, parent_run_id, running)


def reused(parent_run_id: str, trial: Mapping[str, Any]) -> None:
    """Record a trial that took the outcome of an earlier run: a run below the parent that says of which."""
    if parent_run_id not in _open:
        return
    from rnn_sweep.run.record import name_of, tags_of
    from rnn_sweep.tracking import sweep_runs

    parent, of = _open[parent_run_id], trial["of"]
    names = parent.config.objective
    values = dict(zip(names, trial["values"], strict=False)) if len(names) == len(trial["values"]) else {}
    origin = f"trial {of['trial']}" + ("" if of["study"] == trial["study_name"] else f" of the study {of['study']}")
    sweep_runs.add_reused(
        parent.config.tracking,
        parent_run_id,
        sweep_runs.Reused(
            name=f"{name_of(trial, [])} (reused)",
            tags={**tags_of(trial), "reused": origin},
            params={str(key): str(value) for key, value in trial["params"].items()},
            metrics={_RECORDED.get(name, name): value for name, value in values.items()},
            run_id=trial["run_id"],
        ),
    )


def end(parent_run_id: str | None, summary: Mapping[str, Any]) -> str | None:
    """Close the parent run with what came out, as :mod:`rnn_sweep.sweep.hooks` describes it; returns what opens it."""
    if parent_run_id not in _open:
        return None
    from rnn_sweep.tracking import registry, sweep_runs

    parent = _open.pop(parent_run_id)
    if "counts" not in summary:
        summary = {**_read_back(parent.config, parent_run_id), **summary}
    tracking, best = parent.config.tracking, summary.get("best")
    tags = {"command": str(summary.get("command", "")), sweep_runs.NOTE: str(summary.get("note", ""))}
    if best is not None and best["run_id"] is not None:
        tags["best_run_id"] = str(best["run_id"])
    parent.run.add(
        metrics=_metrics(summary, parent.config.objective),
        tags={key: text for key, text in tags.items() if text},
        files=[Path(file) for file in summary.get("files", [])],
    )
    if tracking.register is not None and "best_run_id" in tags:
        version = registry.register(tracking, tags["best_run_id"], tracking.register)
        if version is not None:
            print(f"model:   models:/{tracking.register}@{registry.ALIAS} (version {version})")
    state = State.INTERRUPTED if summary["reason"] in ("interrupted", "failed") else State.COMPLETE
    parent.run.finish(state, {}, (), ())
    return parent.run.ui_hint


def _read_back(config: Config, parent_run_id: str) -> dict[str, Any]:
    """The same of a grid that has no report: from its runs' records.

    There is a best one where the runs record the objective as the search would see it.
    """
    from rnn_sweep.tracking import sweep_runs

    runs = sweep_runs.children(config.tracking, parent_run_id)
    counts = Counter(run.state for run in runs)
    told = f"{len(runs)} runs: {', '.join(f'{n} {state}' for state, n in counts.most_common())}."
    if not config.objective:
        return {"counts": counts, "note": told}
    name = config.objective[0]
    sign = 1 if maximized(name) else -1
    done = [(_value(run.metrics, name), run) for run in runs if run.state == State.COMPLETE.value]
    known = [(value, run) for value, run in done if value is not None]
    if not known:
        return {"counts": counts, "note": told}
    value, best = max(known, key=lambda pair: sign * pair[0])
    note = f"{told} The best {name}, {value:.6g}, is that of `{best.name.replace('`', ' ')}`."
    return {"counts": counts, "best": {"values": [value], "run_id": best.run_id}, "note": note}


_RECORDED = {f"val/{score}": f"val/{score}_best" for score in SCORES} | {key: key for key in ("parameters", "seconds")}
"""Objectives that a run whose value is its best epoch's keeps, by the metric that holds the value."""


def _value(metrics: Mapping[str, float], objective: str) -> float | None:
    """A run's objective as the search would see it; None where its metrics do not have it."""
    return metrics.get(_RECORDED.get(objective, "") if "best_epoch" in metrics else objective)


def _metrics(summary: Mapping[str, Any], objectives: tuple[str, ...]) -> dict[str, float]:
    metrics = {"trials": float(summary["trials"])}
    metrics |= {"trials/reused": float(summary["reused"])} if summary.get("reused") else {}
    metrics |= {f"trials/{state}": float(n) for state, n in summary.get("counts", {}).items()}
    metrics |= {f"epochs/{key}": float(n) for key, n in (summary.get("epochs") or {}).items()}
    best = summary.get("best")
    if best is not None:
        metrics["best_value"] = float(best["values"][0])
        if "number" in best:
            metrics["best_trial"] = float(best["number"])
        metrics |= {f"best_{key}": float(best[key]) for key in ("mean", "margin") if key in best}
        if len(objectives) > 1:
            metrics |= {f"best/{name}": float(v) for name, v in zip(objectives, best["values"], strict=False)}
    return metrics
