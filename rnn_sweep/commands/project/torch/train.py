"""Handwritten digits by a network of your own: change anything. The lines with ``run`` are all that sweeps need."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

import rnn_sweep


class Net(nn.Module):
    """Images [B, 64] to scores of classes [B, 10]."""

    def __init__(self, hidden):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))

    def forward(self, x):
        return self.layers(x)


def data():
    x, y = load_digits(return_X_y=True)
    x, y = torch.as_tensor(x, dtype=torch.float32) / 16, torch.as_tensor(y)
    return x[:1400], y[:1400], x[1400:], y[1400:]


@rnn_sweep.main(config_path="conf", config_name="config")
def train(cfg, run):
    x, y, x_val, y_val = data()
    net = run.keep(Net(**cfg.model))
    optimizer = run.keep(torch.optim.Adam(net.parameters(), cfg.lr))
    for _ in run.epochs(cfg.epochs):
        for batch in torch.randperm(len(x)).split(cfg.batch_size):
            loss = functional.cross_entropy(net(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        accuracy = (net(x_val).argmax(1) == y_val).float().mean()
        run.log({"train/loss": loss, "val/accuracy": accuracy})
    run.log_model(net, x_val[:1])


if __name__ == "__main__":
    train()
