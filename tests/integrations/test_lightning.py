"""A Lightning trainer as a run."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import mlflow
import pytest
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from omegaconf import OmegaConf
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from rnn_sweep import Outcome, Run, start_run
from rnn_sweep.errors import UserError
from rnn_sweep.integrations.lightning import RunCallback
from tests.integrations.conftest import CFG, CutError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:::lightning", "ignore:.*treespec:DeprecationWarning", "ignore::UserWarning"),
]


class Net(lightning.LightningModule):
    """Dropout, shuffled batches and a schedule by epoch: all of which a checkpoint must get right."""

    def __init__(self, width: Any = 8) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 2))

    def training_step(self, batch: Any, _: int) -> torch.Tensor:
        loss = nn.functional.cross_entropy(self.layers(batch[0]), batch[1])
        self.log("train/loss", loss, on_step=False, on_epoch=True)
        self.log("step/loss", loss)
        return loss

    def on_train_epoch_end(self) -> None:
        self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"])

    def validation_step(self, batch: Any, _: int) -> None:
        self.log("val/accuracy", (self.layers(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), 0.3, momentum=0.9)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)]


class Cuts(Callback):
    """Ends the run in the third epoch."""

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.current_epoch == 2 and batch_idx == 1:
            raise CutError


def fit(cfg: Any, run: Run, *more: Callback, net: Any = None, path: bool = True, **settings: Any) -> Net:
    x = torch.randn(120, 4, generator=torch.Generator().manual_seed(0))
    data = TensorDataset(x, (x.sum(1) > 0).long())
    callback, net = RunCallback(run), net or Net()
    quiet = dict.fromkeys(("enable_progress_bar", "enable_model_summary"), False)
    settings = {"max_epochs": cfg["epochs"], "logger": callback.logger, "log_every_n_steps": 2, **settings}
    trainer = lightning.Trainer(callbacks=[callback, *more], accelerator="cpu", **quiet, **settings)
    resumed = {"ckpt_path": callback.ckpt_path} if path else {}
    trainer.fit(net, DataLoader(data, 30, shuffle=True), DataLoader(data, 120), **resumed, weights_only=True)
    return net


@pytest.mark.slow
def test_a_run_that_was_cut_off_goes_on_to_the_same_figures(gone_on: Callable[..., tuple[Outcome, Outcome]]) -> None:
    """Lightning goes on from its own checkpoint, bit for bit."""
    again, whole = gone_on(lambda cfg, run: fit(cfg, run, Cuts()), fit)
    assert whole.epochs == 5
    assert [row["lr"] for row in whole.history] == pytest.approx([0.3, 0.15, 0.15, 0.075, 0.075])
    assert list(again.history) == list(whole.history)
    assert set(whole.history[0]) == {"train/loss", "step/loss", "val/accuracy", "lr"}


def test_early_stopping_of_lightnings_own_ends_the_run(trained: Callable[..., Outcome], tmp_path: Path) -> None:
    def stopped(cfg: Any, run: Run) -> None:
        fit(
            cfg,
            run,
            EarlyStopping("val/accuracy", mode="max", min_delta=1.0, patience=2, check_on_train_epoch_end=False),
        )
        run.log({"test/accuracy": 0.5})

    outcome = trained(stopped, "stopped")
    assert (outcome.epochs, outcome.state.value, outcome.metrics["test/accuracy"]) == (3, "complete", 0.5)
    assert "test/accuracy" not in outcome.history[-1]


def test_sigterm_lets_the_epoch_end(trained: Callable[..., Outcome]) -> None:
    class Terminates(Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            if trainer.current_epoch == 1 and batch_idx == 0:
                signal.raise_signal(signal.SIGTERM)

    outcome = trained(lambda cfg, run: fit(cfg, run, Terminates()), "run")
    assert (outcome.epochs, outcome.state.value) == (2, "interrupted")
    assert trained(fit, "run").epochs == 5


@pytest.mark.slow
def test_its_logger_writes_into_the_runs_record(tmp_path: Path) -> None:
    tracking = {"uri": f"sqlite:///{tmp_path}/mlflow.db", "experiment": "l"}
    before = mlflow.get_tracking_uri(), os.environ.get("MLFLOW_TRACKING_URI")
    with start_run(OmegaConf.create({**CFG, "tracking": tracking}), tmp_path / "run") as run:
        fit({"epochs": 2}, run)
    after = mlflow.get_tracking_uri(), os.environ.get("MLFLOW_TRACKING_URI")
    assert after == before, "the store is the run's, not the process's"
    client = mlflow.MlflowClient(tracking["uri"])
    (record,) = client.search_runs([client.get_experiment_by_name("l").experiment_id])
    assert record.info.run_id == run.run_id
    assert record.info.status == "FINISHED"
    assert record.data.params["width"] == "8"
    steps = {name: [m.step for m in client.get_metric_history(run.run_id, name)] for name in record.data.metrics}
    assert steps["val/accuracy"] == steps["train/loss"] == [1, 2]
    assert steps["step/loss"] == [1, 3, 5, 7]
    assert "step/loss" not in run.outcome.history[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_epochs": -1}, r"Trainer\(max_epochs\) must be an integer of at least 1, got -1"),
        ({"min_epochs": 3}, r"Trainer\(min_epochs\) must be left out with RunCallback, .* got 3"),
        ({"net": Net(width=OmegaConf.create({"size": 8}))}, "must hold tensors and plain values alone"),
    ],
)
def test_a_trainer_that_does_not_fit_is_one_message(
    trained: Callable[..., Outcome], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as refused:
        trained(lambda cfg, run: fit(cfg, run, **settings), "run")
    assert "\n" not in str(refused.value)


def test_a_forgotten_checkpoint_is_one_message(trained: Callable[..., Outcome]) -> None:
    with pytest.raises(CutError):
        trained(lambda cfg, run: fit(cfg, run, Cuts()), "run")
    with pytest.raises(UserError, match=r"trainer\.fit must get ckpt_path=callback\.ckpt_path"):
        trained(lambda cfg, run: fit(cfg, run, path=False), "run")
