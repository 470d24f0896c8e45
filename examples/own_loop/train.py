"""A loop and a cell of one's own: handwritten digits, read row by row. Only the lines with ``run`` are for sweeps."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

import rnn_sweep


class MinimalGatedUnit(nn.Module):
    """One gate (Zhou et al. 2016, arXiv:1603.09420), over rows of 8 pixels: [B, T, 8] -> [B, 10]."""

    def __init__(self, hidden: int, forget_bias: float) -> None:
        super().__init__()
        self.hidden = hidden
        self.gate = nn.Linear(8 + hidden, hidden)
        self.candidate = nn.Linear(8 + hidden, hidden)
        self.head = nn.Linear(hidden, 10)
        nn.init.constant_(self.gate.bias, forget_bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = x.new_zeros(len(x), self.hidden)
        for row in x.unbind(1):
            f = torch.sigmoid(self.gate(torch.cat([row, h], 1)))
            new = torch.tanh(self.candidate(torch.cat([row, f * h], 1)))
            h = (1 - f) * h + f * new
        return self.head(h)


def digits() -> tuple[torch.Tensor, ...]:
    x, y = load_digits(return_X_y=True)
    images, labels = torch.as_tensor(x, dtype=torch.float32).view(-1, 8, 8) / 16, torch.as_tensor(y)
    return images[:1400], labels[:1400], images[1400:], labels[1400:]


def fit(net: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor, batch_size: int) -> float:
    total = 0.0
    for batch in torch.randperm(len(x)).split(batch_size):
        loss = functional.cross_entropy(net(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        total += loss.item() * len(batch)
    return total / len(x)


@rnn_sweep.main(config_path="conf", config_name="config")
def train(cfg, run):
    x, y, x_val, y_val = digits()
    net = run.keep(MinimalGatedUnit(**cfg.model))
    optimizer = run.keep(torch.optim.Adam(net.parameters(), cfg.lr))
    for _ in run.epochs(cfg.epochs):
        loss = fit(net, optimizer, x, y, cfg.batch_size)
        with torch.no_grad():
            accuracy = (net(x_val).argmax(1) == y_val).float().mean()
        run.log({"train/loss": loss, "val/accuracy": accuracy})
    run.log_model(net, x_val[:1])


if __name__ == "__main__":
    train()
