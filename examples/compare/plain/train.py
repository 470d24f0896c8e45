"""What everybody starts from: a training function of one's own under Hydra, which trains once and prints."""

import hydra
import torch
from omegaconf import DictConfig
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


@hydra.main(version_base=None, config_path="conf", config_name="config")
def train(cfg: DictConfig) -> None:
    torch.manual_seed(cfg.seed)
    x, y, x_val, y_val = digits()
    net = Net(**cfg.model)
    optimizer = torch.optim.Adam(net.parameters(), cfg.lr)
    for epoch in range(1, cfg.epochs + 1):
        loss = fit(net, optimizer, x, y, cfg)
        accuracy = score(net, x_val, y_val)
        print(f"epoch {epoch}: train/loss {loss:.4f}, val/accuracy {accuracy:.4f}")


if __name__ == "__main__":
    train()
