"""Handwritten digits by Lightning: change anything. The lines with ``run`` or ``callback`` are all that sweeps need."""

import lightning
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import rnn_sweep
from rnn_sweep.integrations.lightning import RunCallback


class Digits(lightning.LightningModule):
    def __init__(self, hidden: int, dropout: float, lr: float) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.rnn = nn.GRU(8, hidden, batch_first=True)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(hidden, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(x)[0][:, -1])

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        x, y = batch
        loss = functional.cross_entropy(self(x), y)
        self.log("train/loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: list[torch.Tensor], _: int) -> None:
        x, y = batch
        self.log("val/accuracy", (self(x).argmax(1) == y).float().mean())

    def configure_optimizers(self) -> dict[str, object]:
        optimizer = torch.optim.Adam(self.parameters(), self.hparams.lr)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.7)}


def loaders(batch_size: int) -> tuple[DataLoader, DataLoader]:
    x, y = load_digits(return_X_y=True)
    images, labels = torch.as_tensor(x, dtype=torch.float32).view(-1, 8, 8) / 16, torch.as_tensor(y)
    train, val = TensorDataset(images[:1400], labels[:1400]), TensorDataset(images[1400:], labels[1400:])
    return DataLoader(train, batch_size, shuffle=True), DataLoader(val, 397)


@rnn_sweep.main(config_path="conf", config_name="config")
def train(cfg, run):
    callback = RunCallback(run)
    trainer = lightning.Trainer(
        max_epochs=cfg.epochs,
        callbacks=[callback],
        logger=callback.logger,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = Digits(**cfg.model, lr=cfg.lr)
    trainer.fit(model, *loaders(cfg.batch_size), ckpt_path=callback.ckpt_path, weights_only=True)


if __name__ == "__main__":
    train()
