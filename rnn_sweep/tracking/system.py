"""CPU, memory, disk, network and GPUs of a run's machine, sampled by MLflow's own monitor while the run goes on."""

from __future__ import annotations

import importlib.util
import logging
from typing import TYPE_CHECKING

from rnn_sweep.errors import UserError

if TYPE_CHECKING:
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor


def check() -> None:
    """Raises :class:`UserError` where a package is missing that the monitor needs; GPUs need another, and may lack."""
    if importlib.util.find_spec("psutil") is None:
        how = "pip install 'rnn-sweep[system]'"
        raise UserError(f"tracking.system_metrics must be false where psutil is not installed, got true; {how}")


def start(uri: str, run_id: str, *, resumed: bool) -> SystemMetricsMonitor:
    """Sample the machine until ``finish()``: every ten seconds, or ``MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL``.

    Args:
        uri: MLflow's store.
        run_id: the run that gets the metrics, named ``system/…``.
        resumed: whether it may have some from before.
    """
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    logging.getLogger("mlflow.system_metrics").setLevel(logging.WARNING)  # it announces each start and end
    monitor = SystemMetricsMonitor(run_id, resume_logging=resumed, tracking_uri=uri)  # type: ignore[no-untyped-call]
    monitor.start()  # type: ignore[no-untyped-call]
    return monitor
