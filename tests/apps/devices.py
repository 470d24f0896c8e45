"""A job that says which GPUs it was given, and takes a moment."""

import os
import time

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from rnn_sweep.hydra_version import BASE
from rnn_sweep.trial import Reporter

ConfigStore.instance().store(name="devices", node={"x": 1.0, "trial": None})


@hydra.main(config_path=None, config_name="devices", **BASE)
def main(cfg: DictConfig) -> float:
    Reporter(cfg.trial).note("devices", os.environ.get("CUDA_VISIBLE_DEVICES"))
    time.sleep(0.5)
    return float(cfg.x)


if __name__ == "__main__":
    main()
