"""What a job that speaks to MLflow by itself leaves behind in its process: open runs, another store or experiment."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def take() -> Callable[[bool], str]:
    """Note MLflow's state; what is returned puts it back, told whether the job failed, and says what was otherwise.

    Runs that are open then, and were not before, are closed: the next ``mlflow.start_run()`` would be refused. Nothing
    is done where nobody has imported MLflow.
    """
    before = _state(sys.modules.get("mlflow"))

    def restore(failed: bool) -> str:
        mlflow = sys.modules.get("mlflow")
        if mlflow is None:
            return ""
        left = _close(mlflow, before[0], "FAILED" if failed else "FINISHED")
        _, uri, experiment = _state(mlflow)
        if uri != before[1]:
            mlflow.set_tracking_uri(before[1])
        if experiment != before[2]:
            _fluent(mlflow)._active_experiment_id = before[2]  # nothing public takes it back
        return ", ".join(left)

    return restore


def _state(mlflow: Any) -> tuple[str | None, str | None, str | None]:
    """The innermost open run, the address and the experiment that were set; None for what there is not."""
    if mlflow is None:
        return None, None, None
    run = mlflow.active_run()
    uri = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    return run and run.info.run_id, uri, _fluent(mlflow)._active_experiment_id


def _close(mlflow: Any, until: str | None, status: str) -> list[str]:
    """Close the open runs within ``until``; returns what they are called."""
    closed = []
    while (run := mlflow.active_run()) is not None and run.info.run_id != until:
        name = f"run {run.info.run_name!r} ({run.info.run_id}) of MLflow, still open"
        try:
            mlflow.end_run(status)
            closed.append(f"{name}, closed as {status}")
        except Exception as error:  # the store's; the run is no longer the process's all the same
            closed.append(f"{name}, not closed ({type(error).__name__})")
    return closed


def _fluent(mlflow: Any) -> Any:
    return mlflow.tracking.fluent
