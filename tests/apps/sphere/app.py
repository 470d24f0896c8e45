"""A function to minimise, as a Hydra application."""

import time

import hydra
from omegaconf import DictConfig

from rnn_sweep.hydra_version import BASE


@hydra.main(config_path="conf", config_name="config", **BASE)
def main(cfg: DictConfig) -> float:
    if cfg.fail:
        raise RuntimeError("cfg.fail is true")
    time.sleep(cfg.seconds)
    return float(cfg.x) ** 2 + float(cfg.y) ** 2


if __name__ == "__main__":
    main()
