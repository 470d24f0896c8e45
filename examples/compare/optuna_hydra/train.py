"""The same with Optuna and MLflow by hand, under Hydra."""

import fcntl
import json
import os
from pathlib import Path

import hydra
import mlflow
import optuna
import torch
from omegaconf import DictConfig, OmegaConf
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
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


def save(path: Path, state: dict[str, object]) -> None:
    torch.save(state, path.with_suffix(".tmp"))
    os.replace(path.with_suffix(".tmp"), path)


def objective(trial: optuna.Trial, cfg: DictConfig, parent: str) -> float:
    cfg = OmegaConf.merge(cfg, {"model": {}})
    cfg.lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
    cfg.model.hidden = trial.suggest_categorical("model.hidden", [16, 32, 64])
    torch.manual_seed(cfg.seed)
    x, y, x_val, y_val = digits()
    net = Net(**cfg.model)
    optimizer = torch.optim.Adam(net.parameters(), cfg.lr)
    folder = Path(cfg.folder) / str(trial.user_attrs.get("first", trial.number))
    folder.mkdir(parents=True, exist_ok=True)
    path, history, run_id = folder / "checkpoint.pt", [], None
    if path.is_file():
        state = torch.load(path, weights_only=True)
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        history, run_id = state["history"], state["run_id"]
        for epoch, accuracy in enumerate(history, 1):
            trial.report(accuracy, epoch)
    tags = {"mlflow.parentRunId": parent}
    with mlflow.start_run(run_id, run_name=f"trial {trial.number}", nested=True, tags=tags) as run:
        if run_id is None:
            mlflow.log_params({"lr": cfg.lr, "model.hidden": cfg.model.hidden})
        for epoch in range(len(history) + 1, cfg.epochs + 1):
            loss = fit(net, optimizer, x, y, cfg)
            accuracy = score(net, x_val, y_val)
            print(f"epoch {epoch}: train/loss {loss:.4f}, val/accuracy {accuracy:.4f}")
            mlflow.log_metrics({"train/loss": loss, "val/accuracy": accuracy}, step=epoch)
            history.append(accuracy)
            state = {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "random": torch.get_rng_state()}
            save(path, {**state, "history": history, "run_id": run.info.run_id})
            trial.report(accuracy, epoch)
            if trial.should_prune():
                mlflow.set_tag("state", "pruned")
                raise optuna.TrialPruned
    return history[-1]


def retry_dead(study: optuna.Study) -> None:
    """Enqueue what a killed process left running, to go on from its checkpoint."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        first = trial.user_attrs.get("first", trial.number)
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params, user_attrs={"first": first})


def parent_run(folder: Path) -> str | None:
    path = folder / "parent.json"
    return json.loads(path.read_text()) if path.is_file() else None


@hydra.main(version_base=None, config_path="conf", config_name="config")
def train(cfg: DictConfig) -> None:
    folder = Path(cfg.folder)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one process at a time: who else runs is not dead
        storage = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
        pruner = optuna.pruners.MedianPruner(n_startup_trials=5)
        names = {"study_name": cfg.study, "direction": "maximize", "load_if_exists": True}
        study = optuna.create_study(storage=storage, pruner=pruner, **names)
        retry_dead(study)
        mlflow.set_tracking_uri("sqlite:///mlflow.db")
        mlflow.set_experiment("digits")
        with mlflow.start_run(parent_run(folder), run_name=cfg.study) as parent:
            (folder / "parent.json").write_text(json.dumps(parent.info.run_id))
            ended = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
            study.optimize(lambda trial: objective(trial, cfg, parent.info.run_id), cfg.n_trials - len(ended))
            mlflow.log_metric("best", study.best_value)
        print(f"best {study.best_value:.4f} {study.best_params}")


if __name__ == "__main__":
    train()
