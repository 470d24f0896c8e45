"""The MLflow run that a sweep's trials are children of: opened before the first, closed after the last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from rnn_sweep.config import Config, parse
from rnn_sweep.errors import UserError
from rnn_sweep.outcome import SCORES, State, maximized

if TYPE_CHECKING:
    from rnn_sweep.tracking import Run


@dataclass(frozen=True)
class Parent:
    """A parent run that is open."""

    run: Run
    config: Config


_open: dict[str, Parent] = {}
"""Parent runs of this process by id: the object stays here, because what hangs on a task function gets pickled."""


def begin(cfg: DictConfig, name: str, storage: str | None, known: str | None, space: Mapping[str, str]) -> str | None:
    """Open the parent run, or go on with the one that an earlier sweeper of the same study had.

    Args:
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

    config = parse_composed(cfg)
    tracking.check(config.tracking)
    study = {"name": name} | ({"storage": storage} if storage else {})
    tags = {"sweep": name} | ({"sweep.storage": storage} if storage else {})
    if known is None and storage is not None:  # killed before the study knew of it, or another sweeper is about to
        known = tracking.find_open(config.tracking, tags)
    folder = Path(str(cfg.hydra.sweep.dir)).absolute()
    folder.mkdir(parents=True, exist_ok=True)  # where its records wait for a store that does not answer
    run = tracking.start_run(
        config.tracking,
        params={"study": study, "objective": ", ".join(config.objective), "space": dict(space)},
        overrides=[],
        output_dir=folder,
        run_id=known,
        run_name=name,
        tags=tags,
        shared=storage is not None,  # of a study's sweep that was killed the next sweeper takes care
    )
    if run.run_id is not None:
        _open[run.run_id] = Parent(run, config)
    return run.run_id


def objectives(cfg: DictConfig) -> list[str]:
    """The names of what a run returns."""
    return list(parse_composed(cfg).objective)


def settle(parent_run_id: str | None, running: Callable[[], Collection[int]]) -> None:
    """Close the runs of trials whose jobs are gone: those below the parent that are open, but for ``running``."""
    from rnn_sweep import tracking

    if parent_run_id in _open:
        tracking.close_abandoned(_open[parent_run_id].config.tracking, parent_run_id, running)


def end(parent_run_id: str | None, summary: Mapping[str, Any]) -> None:
    """Close the parent run with what came out, as :mod:`rnn_sweep.sweep.hooks` describes it."""
    if parent_run_id not in _open:
        return
    from rnn_sweep.tracking import registry, sweeps

    parent = _open.pop(parent_run_id)
    if "counts" not in summary:
        summary = {**_read_back(parent.config, parent_run_id), **summary}
    tracking, best = parent.config.tracking, summary.get("best")
    tags = {"command": str(summary.get("command", "")), sweeps.NOTE: str(summary.get("note", ""))}
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
    parent.run.finish(state, {}, history=(), model=None, example=None, files=())


def _read_back(config: Config, parent_run_id: str) -> dict[str, Any]:
    """The same of a grid that has no report: from its runs' records.

    There is a best one where the runs record the objective as the search would see it.
    """
    from rnn_sweep.tracking import sweeps

    runs = sweeps.children(config.tracking, parent_run_id)
    counts = Counter(run.state for run in runs)
    told = f"{len(runs)} runs: {', '.join(f'{n} {state}' for state, n in counts.most_common())}."
    key, sign = _RECORDED.get(config.objective[0], ""), 1 if maximized(config.objective[0]) else -1
    done = [run for run in runs if run.state == State.COMPLETE.value and key in run.metrics]
    if not done:
        return {"counts": counts, "note": told}
    best = max(done, key=lambda run: sign * run.metrics[key])
    value = best.metrics[key]
    note = f"{told} The best {config.objective[0]}, {value:.6g}, is that of `{best.name.replace('`', ' ')}`."
    return {"counts": counts, "best": {"values": [value], "run_id": best.run_id}, "note": note}


_RECORDED = {f"val/{score}": f"val/{score}_best" for score in SCORES} | {key: key for key in ("parameters", "seconds")}
"""Objectives whose value a run keeps, by the metric that holds it."""


def _metrics(summary: Mapping[str, Any], objectives: tuple[str, ...]) -> dict[str, float]:
    metrics = {"trials": float(summary["trials"])}
    metrics |= {f"trials/{state}": float(n) for state, n in summary.get("counts", {}).items()}
    metrics |= {f"epochs/{key}": float(n) for key, n in (summary.get("epochs") or {}).items()}
    best = summary.get("best")
    if best is not None:
        metrics["best_value"] = float(best["values"][0])
        if "number" in best:
            metrics["best_trial"] = float(best["number"])
        if len(objectives) > 1:
            metrics |= {f"best/{name}": float(v) for name, v in zip(objectives, best["values"], strict=False)}
    return metrics


def parse_composed(cfg: DictConfig) -> Config:
    """Parse what Hydra composed, with or without Hydra's own node in it; no credentials are in the result.

    Raises:
        UserError: something is wrong, or a configuration file has credentials, which every run would record.
    """
    from rnn_sweep.tracking import masks

    config = parse(OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"]))
    uri = masks.withhold(config.tracking.uri)
    if uri != config.tracking.uri and not OmegaConf.is_interpolation(cfg.tracking, "uri"):
        how = "write ${oc.env:NAME} instead, or '***' for them and the whole URI into " + masks.TRACKING_VARIABLE
        raise UserError(f"tracking.uri must have no credentials in a file, which each run records: got '{uri}'; {how}")
    return replace(config, tracking=replace(config.tracking, uri=uri))
