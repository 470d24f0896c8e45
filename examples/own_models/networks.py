"""Networks of one's own for our training function: sequences [B, T, I] to scores [B, outputs]."""

import torch
from torch import nn


class GatedCell(nn.Module):
    """One gate between the old state and a new one, as on paper: h = (1 - z) h + z tanh(W [x, h])."""

    def __init__(self, input_dim: int, outputs: int, hidden: int = 32) -> None:
        super().__init__()
        self.hidden = hidden
        self.gate = nn.Linear(input_dim + hidden, hidden)
        self.new = nn.Linear(input_dim + hidden, hidden)
        self.head = nn.Linear(hidden, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = x.new_zeros(len(x), self.hidden)
        for step in x.unbind(1):
            both = torch.cat([step, h], 1)
            z = torch.sigmoid(self.gate(both))
            h = (1 - z) * h + z * torch.tanh(self.new(both))
        return self.head(h)


class Convolutions(nn.Module):
    """Convolutions over time, and the largest answer of each channel."""

    def __init__(self, input_dim: int, outputs: int, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(input_dim, width, 3, padding=1), nn.ReLU(), nn.Conv1d(width, width, 3, padding=1), nn.ReLU()
        )
        self.head = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(x.transpose(1, 2)).amax(2))


class Transformer(nn.Module):
    """A small encoder with learnt positions, and the mean over the steps."""

    def __init__(self, input_dim: int, outputs: int, steps: int, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.embed = nn.Linear(input_dim, width)
        self.positions = nn.Parameter(torch.randn(steps, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, heads, 2 * width, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(self.embed(x) + self.positions).mean(1))
