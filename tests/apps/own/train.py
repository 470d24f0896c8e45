"""A training function of a user's own: everything that it does about its sweep is in lines with ``run``."""

import os
import signal
import time
from pathlib import Path

import torch
from torch.nn import functional

import rnn_sweep


class Net(torch.nn.Module):
    """Its class is in the script itself."""

    def __init__(self, hidden):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(4, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 2))

    def forward(self, x):
        return self.layers(x)


def data():
    x = torch.randn(256, 4, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] * x[:, 1] > 0).long()


def fit(net, optimizer, x, y):
    for batch in torch.randperm(len(x)).split(64):  # of the global generator, whose state is the run's
        optimizer.zero_grad()
        loss = functional.cross_entropy(net(x[batch]), y[batch])
        loss.backward()
        optimizer.step()
    return loss


def die_once(epoch, cfg, mark):
    if epoch == cfg.die and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


@rnn_sweep.main(config_path="conf", config_name="config")
def train(cfg, run):
    x, y = data()
    net = run.keep(Net(cfg.hidden))
    optimizer = run.keep(torch.optim.Adam(net.parameters(), cfg.lr))
    seen = run.keep({"epochs": 0})
    for epoch in run.epochs(cfg.epochs):
        loss = fit(net, optimizer, x, y)
        seen["epochs"] += 1
        run.log({"train/loss": loss})
        run.log({"val/accuracy": (net(x).argmax(1) == y).float().mean(), "seen": seen["epochs"]})
        time.sleep(cfg.pause)
        die_once(epoch, cfg, Path("died"))
    run.log_model(net, x[:1])
    run.log({"parameters": sum(p.numel() for p in net.parameters())})


if __name__ == "__main__":
    train()
