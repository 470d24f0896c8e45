"""The same with Ray Tune, which has no part for Hydra: the configuration comes from OmegaConf."""

import argparse
import tempfile
from pathlib import Path

import mlflow
import torch
from omegaconf import DictConfig, OmegaConf
from ray import tune
from ray.tune.schedulers import MedianStoppingRule
from ray.tune.search.optuna import OptunaSearch
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


def train(found: dict[str, object]) -> None:
    here = Path(str(found["here"]))
    cfg = OmegaConf.merge(OmegaConf.load(here / "conf" / "config.yaml"), {"lr": found["lr"]})
    cfg.model.hidden = found["hidden"]
    torch.manual_seed(cfg.seed)
    x, y, x_val, y_val = digits()
    net = Net(**cfg.model)
    optimizer = torch.optim.Adam(net.parameters(), cfg.lr)
    done, run_id = 0, None
    if checkpoint := tune.get_checkpoint():
        with checkpoint.as_directory() as folder:
            state = torch.load(Path(folder) / "state.pt", weights_only=True)
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        done, run_id = state["epoch"], state["run_id"]
    mlflow.set_tracking_uri(f"sqlite:///{here}/mlflow.db" if found["uri"] is None else str(found["uri"]))
    mlflow.set_experiment("digits")
    name, tags = tune.get_context().get_trial_name(), {"mlflow.parentRunId": str(found["parent"])}
    with mlflow.start_run(run_id, run_name=name, tags=tags) as run:
        if run_id is None:
            mlflow.log_params({"lr": cfg.lr, "hidden": cfg.model.hidden})
        for epoch in range(done + 1, cfg.epochs + 1):
            loss = fit(net, optimizer, x, y, cfg)
            metrics = {"train/loss": loss, "val/accuracy": score(net, x_val, y_val)}
            mlflow.log_metrics(metrics, step=epoch)
            with tempfile.TemporaryDirectory() as folder:
                state = {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "random": torch.get_rng_state()}
                torch.save({**state, "epoch": epoch, "run_id": run.info.run_id}, Path(folder) / "state.pt")
                tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--folder", type=Path, default=Path("studies"))
    parser.add_argument("--uri")
    arguments = parser.parse_args()
    where = str(arguments.folder.absolute() / "digits")
    trainable = tune.with_resources(train, {"cpu": 1})
    if tune.Tuner.can_restore(where):
        tuner = tune.Tuner.restore(where, trainable, resume_unfinished=True, resume_errored=True)
    else:
        here = Path(__file__).parent.absolute()
        mlflow.set_tracking_uri(arguments.uri or f"sqlite:///{here}/mlflow.db")
        mlflow.set_experiment("digits")
        with mlflow.start_run(run_name="digits") as parent:
            fixed = {"here": str(here), "uri": arguments.uri, "parent": parent.info.run_id}
        space = {"lr": tune.loguniform(1e-4, 1e-1), "hidden": tune.choice([16, 32, 64]), **fixed}
        settings = tune.TuneConfig(
            metric="val/accuracy",
            mode="max",
            num_samples=arguments.trials,
            search_alg=OptunaSearch(),
            scheduler=MedianStoppingRule(grace_period=1, min_samples_required=5),
        )
        kept = tune.RunConfig(
            name="digits",
            storage_path=str(arguments.folder.absolute()),
            failure_config=tune.FailureConfig(max_failures=3),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
        )
        tuner = tune.Tuner(trainable, param_space=space, tune_config=settings, run_config=kept)
    best = tuner.fit().get_best_result()
    print(f"best {best.metrics['val/accuracy']:.4f} {best.config['lr']:.5f} {best.config['hidden']}")


if __name__ == "__main__":
    main()
