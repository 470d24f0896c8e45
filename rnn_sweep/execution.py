"""A checked run being executed: its data opened, its record begun, its result written."""

from __future__ import annotations

import json
import logging
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnn_sweep.config import Config, DataConfig, to_tree
from rnn_sweep.deadline import late
from rnn_sweep.errors import UserError
from rnn_sweep.outcome import State

if TYPE_CHECKING:
    from rnn_sweep.data import Dataset
    from rnn_sweep.display import Progress
    from rnn_sweep.outcome import Outcome
    from rnn_sweep.tracking import Run
    from rnn_sweep.training import Entry
    from rnn_sweep.trial import Reporter

log = logging.getLogger(__name__)

_IN_NAME = 120
"""Characters of the overrides that the name of a grid's run shows."""

RESULT_FILE = "result.json"

_TAGGED = ("study_name", "number", "replicate", "retry_of")


@dataclass(frozen=True)
class Job:
    """One run, checked and ready: its configuration, where it writes, and what it goes on from."""

    config: Config
    folder: Path
    overrides: Sequence[str]
    resume: dict[str, Any] | None = None
    script: Path | None = None
    """The user's program, where it is not this process's own: jobs of a sweep run in workers."""


@dataclass(frozen=True)
class Execution:
    """A run under way; ends with :meth:`finish`, :meth:`fail` or ``record.kill()``."""

    job: Job
    dataset: Dataset
    record: Run
    reporter: Reporter

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.dataset.x_train) // self.job.config.data.batch_size)

    def entry(self, progress: Progress, stop: Callable[[], bool]) -> Entry:
        """What the training needs; its observer shows, records and reports each epoch.

        Args:
            progress: where steps and epochs are shown.
            stop: asked after each epoch; True interrupts the run.
        """
        from rnn_sweep.training import Entry, Observer

        job, record, reporter = self.job, self.record, self.reporter
        limit = job.config.trainer.timeout
        begun = time.monotonic()

        def heed_time() -> None:
            if limit is not None and time.monotonic() - begun > limit:
                raise TimeoutError(late("trainer.timeout", limit))

        class Watcher(Observer):
            def step(self) -> None:
                heed_time()
                progress.step()

            def epoch(self, epoch: int, metrics: dict[str, float]) -> bool:
                heed_time()  # a lane of a batched network is not told of steps
                progress.epoch(epoch, metrics)
                record.log_epoch(epoch, metrics)
                value = metrics.get(job.config.objective[0])
                return value is None or reporter.report(epoch, value)

            def stop(self) -> bool:
                return stop() or reporter.stopping

        notes = {"overrides": list(job.overrides), "run_id": record.run_id}
        return Entry(job.config, job.folder, Watcher(), notes, job.resume)

    def finish(self, outcome: Outcome) -> Outcome:
        """Write the result, hand the run's products to the record, and say where they are.

        Returns:
            The outcome, with the record's id.
        """
        from rnn_sweep.display import summary
        from rnn_sweep.models import load_weights
        from rnn_sweep.tracking.picture import save_gradients
        from rnn_sweep.training import GRADIENTS_FILE, WEIGHTS_FILE

        outcome = replace(outcome, run_id=self.record.run_id)
        folder, dataset = self.job.folder, self.dataset
        weights, path = folder / WEIGHTS_FILE, folder / RESULT_FILE
        gradients = folder / GRADIENTS_FILE
        pictures = [save_gradients(gradients)] if gradients.is_file() else []
        self._write(path, outcome)
        self.reporter.note("state", outcome.state.value)
        self.record.finish(
            outcome.state,
            outcome.metrics,
            outcome.history,
            model=load_weights(weights) if weights.is_file() else None,
            example=(dataset.x_test[:1].float() * dataset.scale).numpy(),
            files=[file for file in (weights, path, gradients, *pictures) if file.is_file()],
        )
        log.info(summary(outcome, str(folder), self.record.ui_hint))
        self._register(outcome)
        return outcome

    def _register(self, outcome: Outcome) -> None:
        """Register the model of a plain run, where asked; a sweep registers its best trial's."""
        tracking = self.job.config.tracking
        wanted = tracking.register is not None and outcome.state is State.COMPLETE and self.job.config.trial is None
        if not wanted or outcome.run_id is None:
            return
        from rnn_sweep.tracking import registry

        version = registry.register(tracking, outcome.run_id, str(tracking.register))
        if version is not None:
            log.info("model:   models:/%s@%s (version %s)", tracking.register, registry.ALIAS, version)

    def _write(self, path: Path, outcome: Outcome) -> None:
        result = {
            "state": outcome.state.value,
            "cause": outcome.cause,
            "metrics": dict(outcome.metrics),
            "values": list(outcome.values),
            "run_id": outcome.run_id,
            "epochs": outcome.epochs,
            "seconds": outcome.seconds,
            "images_per_second": outcome.images_per_second,
            "overrides": list(self.job.overrides),
            "history": [dict(row) for row in outcome.history],
        }
        path.with_suffix(".tmp").write_text(json.dumps(result, indent=2) + "\n")
        path.with_suffix(".tmp").replace(path)

    def fail(self, error: BaseException) -> None:
        """Close the record with the error that ended the run."""
        trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self.record.fail(error, trace)

    def readable(self, error: Exception) -> Exception:
        """What ended the run, as its user can read it: one message where memory ran out, else ``error`` itself."""
        if not isinstance(error, MemoryError) and "allocate memory" not in str(error):  # torch has no type for it
            return error
        model, size = self.job.config.model, self.job.config.data.batch_size
        asked = f"model.hidden_dim={model.hidden_dim}, model.layers={model.layers}, data.batch_size={size}"
        return UserError(f"the run needs more memory than there is, got {asked}")


def _go_on(job: Job, earlier: Iterable[Mapping[str, Any]]) -> Job:
    """Where a trial is tried again, go on from the latest checkpoint of the tries before, in the same record."""
    from rnn_sweep.training.checkpoint import load

    for notes in earlier:
        if "folder" not in notes:  # it died before it began
            continue
        try:
            state = load(Path(notes["folder"]))
        except UserError as error:  # it died before its first checkpoint, or on another machine
            log.info("trying again without a checkpoint of an earlier try: %s", error)
            continue
        if state["config"] == to_tree(job.config):
            return replace(job, resume=state)
    return job


def begin(job: Job, load: Callable[[DataConfig], Dataset] | None = None, threads: int | None = None) -> Execution:
    """Open a job's data and its record.

    Args:
        job: the job.
        load: opens the data; :func:`rnn_sweep.data.load` when None.
        threads: threads that will train it, which the last bits of its sums depend on; None is what ``trainer.threads``
            says, or one per core.

    Raises:
        UserError: the data or the tracking store is not as the configuration needs it; nothing was recorded.
    """
    from rnn_sweep import data, tracking
    from rnn_sweep.trial import Reporter

    config = job.config
    dataset = (load or data.load)(config.data)
    trial = config.trial or {}
    of_sweep = trial.get("parent_run_id") is not None
    if not of_sweep:
        tracking.check(config.tracking)
    reporter = Reporter(trial if "number" in trial else None)
    job = _go_on(job, reporter.earlier())
    record = tracking.start_run(
        config.tracking,
        params=to_tree(config),
        overrides=job.overrides,
        output_dir=job.folder,
        parent_run_id=trial.get("parent_run_id"),
        run_id=job.resume["run_id"] if job.resume else None,
        run_name=_name(trial, job.overrides),
        tags={"threads": str(threads or _threads(config))}
        | {f"trial.{key}": str(trial[key]) for key in _TAGGED if key in trial}
        | ({"data.sha256": dataset.sha256} if dataset.sha256 else {}),
        script=job.script,
        patient=of_sweep,
    )
    if record.run_id is not None:
        reporter.note("run_id", record.run_id)
    reporter.note("folder", str(job.folder.absolute()))
    history = job.resume["history"] if job.resume else []
    for epoch, row in enumerate(history, 1):  # what the killed process had not delivered; the store drops the others
        record.log_epoch(epoch, row)
    objective = config.objective[0]
    reporter.repeat({epoch: row[objective] for epoch, row in enumerate(history, 1) if objective in row})
    return Execution(job, dataset, record, reporter)


def _threads(config: Config) -> int:
    import torch

    return config.trainer.threads or torch.get_num_threads()


def _name(trial: Mapping[str, Any], overrides: Sequence[str]) -> str | None:
    """What a sweep's run is called: by its trial, or by what is its own in a grid; None for a run of no sweep."""
    if "number" not in trial:
        own = [o for o in overrides if o.partition("=")[0] in trial.get("swept", ())]
        return " ".join(own)[:_IN_NAME] or None
    again = f" (trial {trial['retry_of']} again)" if "retry_of" in trial else ""
    replicate = f" replicate {trial['replicate']}" if "replicate" in trial else ""
    return f"trial {trial['number']}{replicate}{again}"
