"""A function to minimise, as a Hydra application."""

import time

import hydra
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> float:
    if cfg.fail:
        raise RuntimeError("cfg.fail is true")
    time.sleep(cfg.seconds)
    return float(cfg.x) ** 2 + float(cfg.y) ** 2


if __name__ == "__main__":
    main()
