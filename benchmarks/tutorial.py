"""The loop that every tutorial teaches, as a baseline: DataLoader over torchvision's MNIST, nn.RNN, RMSprop."""

from __future__ import annotations

import time

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms  # type: ignore[import-untyped]

from rnn_sweep.data.store import cache_folder


class TutorialRnn(nn.Module):
    """``nn.RNN`` with a linear layer on its last step."""

    def __init__(self, hidden_dim: int) -> None:
        super().__init__()
        self.rnn = nn.RNN(28, hidden_dim, 1, batch_first=True, nonlinearity="relu")
        self.fc = nn.Linear(hidden_dim, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of images ``[N, 28, 28]``."""
        output, _ = self.rnn(x)
        return self.fc(output[:, -1])  # type: ignore[no-any-return]


class Tutorial:
    """The tutorial's training, resumable an epoch at a time so that it can take turns with another.

    Args:
        hidden_dim: units of the one layer.
        images: training images in an epoch.
        batch_size: images in a step.
    """

    def __init__(self, hidden_dim: int = 128, images: int = 55_000, batch_size: int = 64) -> None:
        mnist = datasets.MNIST(str(cache_folder(None)), train=True, transform=transforms.ToTensor())
        self.loader = DataLoader(Subset(mnist, range(images)), batch_size=batch_size, shuffle=True)
        self.images = images
        self.model = TutorialRnn(hidden_dim)
        self.optimizer = torch.optim.RMSprop(self.model.parameters(), lr=1e-3)
        self.criterion = nn.CrossEntropyLoss()

    def epoch(self) -> float:
        """Train one epoch; returns images per second."""
        start = time.perf_counter()
        for images, labels in self.loader:
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(images.view(-1, 28, 28)), labels)
            loss.backward()
            self.optimizer.step()
        return self.images / (time.perf_counter() - start)
