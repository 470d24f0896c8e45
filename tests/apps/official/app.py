"""What the configurations written for the official sweeper are run with."""

import hydra
from omegaconf import DictConfig
from optuna.trial import Trial

from rnn_sweep.hydra_version import trusting


@hydra.main(config_path=".", config_name="sphere", **trusting("__main__.*", "optuna.samplers.*"))
def main(cfg: DictConfig) -> object:
    if cfg.get("error", False):
        raise RuntimeError("cfg.error is True")
    if cfg.get("two", False):
        return (4 * cfg.x**2 + 4 * cfg.y**2, (cfg.x - 5) ** 2 + (cfg.y - 5) ** 2)
    return sum(float(v) ** 2 for k, v in cfg.items() if k in ("w", "x", "y", "z") and not isinstance(v, str))


def configure(cfg: DictConfig, trial: Trial) -> None:
    """Suggest what depends on another parameter."""
    x = trial.params["x"]
    trial.suggest_float("z", x - cfg.max_z_difference_from_x, x + cfg.max_z_difference_from_x)
    trial.suggest_float("+w", 0.0, 1.0)


if __name__ == "__main__":
    main()
