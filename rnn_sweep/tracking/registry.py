"""MLflow's model registry."""

from __future__ import annotations

import logging

from rnn_sweep.config import TrackingConfig
from rnn_sweep.tracking.store import open_store
from rnn_sweep.tracking.sweep_runs import recording

log = logging.getLogger(__name__)

ALIAS = "champion"
"""What MLflow's documentation calls the version that is to be used."""


def register(config: TrackingConfig, run_id: str, name: str) -> str | None:
    """Make a run's model the next version of the registered model ``name``, with the alias :data:`ALIAS`.

    Returns:
        The version (the old one where this run's model has one already); None where the run recorded no model or
        the store refused it, which the log says.
    """
    from mlflow.exceptions import MlflowException

    store = open_store(config)
    with recording(store, run_id, f"version of the registered model '{name}'"):
        run = store.client.get_run(run_id)
        outputs = run.outputs.model_outputs if run.outputs else []
        if not outputs:
            log.error("run %s has no model to register as '%s'", run_id, name)
            return None
        try:
            store.client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        known = [v for v in store.client.search_model_versions(f"name = '{name}'") if v.run_id == run_id]
        version = (
            known[0]
            if known
            else store.client.create_model_version(
                name, f"models:/{outputs[-1].model_id}", run_id, model_id=outputs[-1].model_id
            )
        )
        store.client.set_registered_model_alias(name, ALIAS, version.version)
        return str(version.version)
    return None
