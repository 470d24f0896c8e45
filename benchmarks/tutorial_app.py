"""One tutorial-style trial as a Hydra app: train, then test. No tracking, no validation, no checkpoint."""

from __future__ import annotations

import hydra
import torch
from omegaconf import DictConfig
from torch.utils.data import DataLoader
from torchvision import datasets, transforms  # type: ignore[import-untyped]
from tutorial import Tutorial

from rnn_sweep.data.store import cache_folder
from rnn_sweep.hydra_version import BASE


@hydra.main(config_path=None, **BASE)
def main(cfg: DictConfig) -> float:
    trial = Tutorial(cfg.hidden_dim, cfg.images)
    for group in trial.optimizer.param_groups:
        group["lr"] = cfg.lr
    for _ in range(cfg.epochs):
        trial.epoch()
    mnist = datasets.MNIST(str(cache_folder(None)), train=False, transform=transforms.ToTensor())
    correct = 0
    with torch.no_grad():
        for images, labels in DataLoader(mnist, batch_size=1000):
            correct += int((trial.model(images.view(-1, 28, 28)).argmax(1) == labels).sum())
    return correct / len(mnist)


if __name__ == "__main__":
    main()
