"""Lightning 2: one callback makes a ``Trainer`` a run that is recorded, pruned, stopped, killed and gone on with.

::

    callback = RunCallback(run)
    trainer = lightning.Trainer(max_epochs=cfg.epochs, callbacks=[callback], logger=callback.logger)
    trainer.fit(model, loader, val_loader, ckpt_path=callback.ckpt_path, weights_only=True)
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import MLFlowLogger
from torch import Tensor

from rnn_sweep.errors import UserError
from rnn_sweep.integrations.callback import EpochCallback
from rnn_sweep.tracking import leftovers

if TYPE_CHECKING:
    from pathlib import Path

    from rnn_sweep.run.bridge import Run


class RunCallback(Checkpoint):
    """Ends each epoch of a ``Trainer`` as ``run.epochs`` does: records, reports, saves, and stops it.

    What the module logs with ``self.log`` are the epoch's metrics, under its names. Trainers of one process only. It is
    a ``Checkpoint`` to Lightning: called after the module and all other callbacks, and in place of the default one.

    Args:
        run: of ``rnn_sweep.main`` or ``start_run``.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._file = run.folder / "lightning.ckpt"
        self._saved = run.keep(_Checkpoint(self._file), "lightning")
        self._loaded = False
        self._under_way = False
        self._callback: EpochCallback | None = None
        self._terminate = signal.getsignal(signal.SIGTERM)
        self._shared: SharedMLFlowLogger | None = None

    @property
    def ckpt_path(self) -> Path | None:
        """For ``trainer.fit``: the checkpoint of an earlier try, written into the run's folder; None in a new run."""
        return self._saved.write()

    @property
    def logger(self) -> MLFlowLogger | bool:
        """For ``Trainer``: an ``MLFlowLogger`` of the very run, or False where tracking is off or away.

        It records hyperparameters, what is logged by step, and whatever the module does with ``self.logger``; figures
        of epochs are the run's own.
        """
        uri = self.run.tracking_uri if self.run.run_id is not None else None
        if uri is None or self.run.run_id is None:
            return False
        self._shared = SharedMLFlowLogger(tracking_uri=uri, run_id=self.run.run_id)
        return self._shared

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a trainer that could not be gone on with or stopped. Raises :class:`UserError`."""
        if stage != "fit":
            return
        if not isinstance(trainer.max_epochs, int) or trainer.max_epochs < 1:
            raise UserError(f"Trainer(max_epochs) must be an integer of at least 1, got {trainer.max_epochs!r}")
        if trainer.min_epochs is not None and trainer.min_epochs > 0:
            rule = "must be left out with RunCallback, for a run is pruned or stopped after any epoch"
            raise UserError(f"Trainer(min_epochs) {rule}; got {trainer.min_epochs}")
        if trainer.world_size > 1:
            raise UserError(f"Trainer(devices) must be 1 with RunCallback, got {trainer.world_size} processes")

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: Mapping[str, Any]) -> None:
        """Note that the trainer goes on from a checkpoint."""
        self._loaded = True

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the loop: before the first batches are fetched, which draws from the generators."""
        if self._saved.content is not None and not self._loaded:
            rule = "trainer.fit must get ckpt_path=callback.ckpt_path, for the run goes on from a checkpoint"
            raise UserError(f"{rule}; got None")
        self._saved.trainer = trainer
        self._callback = EpochCallback(self.run, int(trainer.max_epochs or 0))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take SIGTERM back from Lightning, which would end the epoch in its midst."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._terminate)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that an epoch is under way."""
        self._under_way = True

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """What the logger gets from now on is logged by step."""
        if self._shared is not None:
            self._shared.by_step = True

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What the logger gets from now on is logged by epoch."""
        if self._shared is not None:
            self._shared.by_step = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the epoch with its metrics, but for those that the logger has by step; stop the trainer where it says so.

        Lightning also comes here for the epoch that it goes on from.
        """
        self.on_validation_start(trainer, pl_module)
        if not self._under_way or self._callback is None:
            return
        self._under_way = False
        stepped = self._shared.stepped if self._shared is not None else set()
        if not self._callback({name: value for name, value in trainer.callback_metrics.items() if name not in stepped}):
            trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the loop where another callback has."""
        if self._callback is not None:
            self._callback.close()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let go of the trainer."""
        self._saved.trainer = None


class SharedMLFlowLogger(MLFlowLogger):
    """Lightning's logger on a run that is somebody else's: leaves epochs' figures and the run's end to its owner."""

    def __init__(self, *, tracking_uri: str, run_id: str) -> None:
        super().__init__(tracking_uri=tracking_uri, run_id=run_id)
        self.by_step = False
        """Whether what is logged now is logged by step."""
        self.stepped: set[str] = set()
        """Names of what was."""

    @property
    def experiment(self) -> Any:
        """MLflow's client on the run's store.

        Lightning's own also makes that the store of the whole process, and of those that it starts, for good.
        """
        restore = leftovers.take()
        try:
            return super().experiment
        finally:
            restore(False)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record metrics that are logged by step."""
        if self.by_step:
            own = {name: value for name, value in metrics.items() if name != "epoch"}
            self.stepped.update(own)
            super().log_metrics(own, step)

    def finalize(self, status: str = "success") -> None:
        """Leave the run open."""


class _Checkpoint:
    """Lightning's own checkpoint, kept within the run's: both are of the same epoch, whenever the process dies."""

    def __init__(self, file: Path) -> None:
        self.trainer: Trainer | None = None
        self.content: Tensor | None = None
        """Bytes of the checkpoint that the run goes on from."""
        self._file = file
        self._checked = False

    def state_dict(self) -> dict[str, Tensor | None]:
        """The trainer's checkpoint as bytes [n] uint8; None before there is a trainer."""
        if self.trainer is None:
            return {"checkpoint": self.content}
        self.trainer.save_checkpoint(self._file, weights_only=False)
        content = self._file.read_bytes()
        self._check()
        self._file.unlink()
        return {"checkpoint": torch.frombuffer(bytearray(content), dtype=torch.uint8)}

    def load_state_dict(self, state: Mapping[str, Tensor | None]) -> None:
        """The inverse, as far as can be done before there is a trainer."""
        self.content = state["checkpoint"]

    def write(self) -> Path | None:
        """Write the checkpoint to go on from."""
        if self.content is None:
            return None
        self._file.write_bytes(self.content.numpy().tobytes())
        return self._file

    def _check(self) -> None:
        """Check that a checkpoint can be read without executing anything in it. Raises :class:`UserError`."""
        if self._checked:
            return
        try:
            torch.load(self._file, weights_only=True)
        except Exception as error:  # torch's own, of many types
            reason = " ".join(str(error).split())[:300]
            self._file.unlink()
            rule = "Lightning's checkpoint must hold tensors and plain values alone (hyperparameters too)"
            raise UserError(f"{rule}, to be read back by torch.load(weights_only=True); got {reason}") from error
        self._checked = True
