"""Parts of a user's own for our training function: modules, and functions that return arrays."""

import numpy as np
import torch
from torch import nn


class Mix(nn.Module):
    """A convolution over time whose dropout draws from the process's generator."""

    def __init__(self, input_dim, outputs, width=8, dropout=0.2):
        super().__init__()
        self.conv = nn.Conv1d(input_dim, width, 3, padding=1)
        self.norm = nn.BatchNorm1d(width)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(width, outputs)

    def forward(self, x):
        return self.head(self.drop(torch.relu(self.norm(self.conv(x.transpose(1, 2)))).amax(2)))


class Steps(nn.Linear):
    """Answers each step, asked or not."""

    def __init__(self, input_dim, outputs):
        super().__init__(input_dim, outputs)


class Breaks(Mix):
    def forward(self, x):
        raise RuntimeError("no such\nkernel")


def sums(n=300, shift=0.0):
    x = np.random.default_rng(0).normal(size=(n, 6, 3)).astype("float32")
    return x, (x.sum((1, 2)) > shift).astype(int)


def parted():
    (x, y), (x_test, y_test) = sums(200), sums(50)
    return {"X": torch.as_tensor(x), "y": y, "X_val": x_test, "y_val": y_test, "X_test": x_test, "y_test": y_test}


def wrong():
    return {"X": np.zeros((4, 2)), "y": np.arange(4)}


def nothing():
    return None


class Focal(nn.Module):
    """Cross-entropy that hard examples weigh more in."""

    def __init__(self, gamma=2.0):
        super().__init__()
        self.gamma = gamma

    def forward(self, answer, y):
        rows = nn.functional.cross_entropy(answer, y, reduction="none")
        return ((1 - torch.exp(-rows)) ** self.gamma * rows).mean()


def each(answer, y):
    return nn.functional.cross_entropy(answer, y, reduction="none")


def constant(answer, y):
    return torch.tensor(1.0)


def confidence(answer, y, scale=1.0):
    return scale * answer.softmax(1).amax(1).mean()


def wordy(answer, y):
    return "good"


def padded(n=300, steps=7, labels="one"):
    """Sequences of 1 to T steps, whose padding is NaN: the label is the sign of the last number that there is."""
    random = np.random.default_rng(0)
    lengths = random.integers(1, steps + 1, n)
    x = random.normal(size=(n, steps, 2)).astype("float32")
    there = np.arange(steps) < lengths[:, None]
    y = (x[:, :, 0] > 0).astype(int)
    one = y[np.arange(n), lengths - 1]
    x[~there] = np.nan
    return {"X": x, "y": one if labels == "one" else np.where(there, y, 99), "lengths": lengths}


class Told(nn.Module):
    """Is told the lengths, and answers by the mean over the steps that there are."""

    def __init__(self, input_dim, outputs):
        super().__init__()
        self.layer = nn.Linear(input_dim, outputs)

    def forward(self, x, lengths):
        return self.layer(x).sum(1) / lengths[:, None].to(x)


class ByEpoch(torch.utils.data.Sampler):
    """Shuffles by the number of the epoch."""

    def __init__(self, size):
        self.size, self.epoch = size, 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __iter__(self):
        return iter(torch.randperm(self.size, generator=torch.Generator().manual_seed(self.epoch)).tolist())

    def __len__(self):
        return self.size


def loaders(batch_size, shuffled="by the process", values=False):
    x, y = (torch.as_tensor(array) for array in sums(240))
    y = x.sum((1, 2)) if values else y
    whole = torch.utils.data.TensorDataset(x, y)
    train, val = torch.utils.data.Subset(whole, range(160)), torch.utils.data.Subset(whole, range(160, 200))
    order = {
        "by the process": {"shuffle": True},
        "by its own": {"shuffle": True, "generator": torch.Generator().manual_seed(5)},
        "by epoch": {"sampler": ByEpoch(160)},
    }[shuffled]
    parts = {
        "train": torch.utils.data.DataLoader(train, batch_size, **order),
        "val": torch.utils.data.DataLoader(val, 16),
        "test": [(x[200:], y[200:])],
    }
    return parts if values else {**parts, "outputs": 2}


def changed(what, value=None):
    """:func:`loaders`, with something wrong."""
    found = loaders(40)
    x, y = found["test"][0]
    nan = x.clone()
    nan[3, 1, 2] = torch.nan
    wrong = {
        "none": {"val": []},
        "once": {"train": iter(found["train"])},
        "endless": {"train": type("Endless", (), {"__iter__": lambda self: iter([(x, y)])})()},
        "triple": {"val": [(x, y, y)]},
        "flat": {"train": [(x[:, :, 0], y)]},
        "steps": {"test": [(x[:, :4], y)]},
        "nan": {"train": [(x, y), (nan, y)]},
        "label": {"train": [(x, y), (x, y + 1)]},
        "short": {"train": type("Short", (list,), {"__len__": lambda self: 3})([(x, y)])},
        "outputs": {"outputs": value},
    }[what]
    return {**found, **wrong}
