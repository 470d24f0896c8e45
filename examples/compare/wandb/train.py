"""The same with W&B sweeps, by their documentation; not run here: it takes an account."""

from pathlib import Path

import torch
import wandb
from omegaconf import DictConfig, OmegaConf
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional


class Net(nn.Module):
    """Images [B, 8, 8], read row by row, to scores [B, 10]."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.rnn = nn.GRU(8, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(x)[0][:, -1])


def digits() -> tuple[torch.Tensor, ...]:
    x, y = load_digits(return_X_y=True)
    images, labels = torch.as_tensor(x, dtype=torch.float32).view(-1, 8, 8) / 16, torch.as_tensor(y)
    return images[:1400], labels[:1400], images[1400:], labels[1400:]


def fit(net: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor, cfg: DictConfig) -> float:
    net.train()
    total = 0.0
    for batch in torch.randperm(len(x)).split(cfg.batch_size):
        loss = functional.cross_entropy(net(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), cfg.clip)
        optimizer.step()
        total += loss.item() * len(batch)
    return total / len(x)


@torch.no_grad()
def score(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    net.eval()
    return (net(x).argmax(1) == y).float().mean().item()


def train() -> None:
    cfg = OmegaConf.load("conf/config.yaml")
    with wandb.init(project="digits") as run:
        cfg.lr, cfg.model.hidden = run.config["lr"], run.config["hidden"]
        torch.manual_seed(cfg.seed)
        x, y, x_val, y_val = digits()
        net = Net(**cfg.model)
        optimizer = torch.optim.Adam(net.parameters(), cfg.lr)
        done = 0
        # A sweep's agent starts a new run for whatever it is given: the file is found by the settings, not by a run.
        path = Path("checkpoints") / str(run.sweep_id) / f"{cfg.lr}-{cfg.model.hidden}.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            state = torch.load(path, weights_only=True)
            net.load_state_dict(state["net"])
            optimizer.load_state_dict(state["optimizer"])
            torch.set_rng_state(state["random"])
            done = state["epoch"]
        for epoch in range(done + 1, cfg.epochs + 1):
            loss = fit(net, optimizer, x, y, cfg)
            run.log({"epoch": epoch, "train/loss": loss, "val/accuracy": score(net, x_val, y_val)})
            state = {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "random": torch.get_rng_state()}
            torch.save({**state, "epoch": epoch}, path.with_suffix(".tmp"))
            path.with_suffix(".tmp").replace(path)


if __name__ == "__main__":
    train()
