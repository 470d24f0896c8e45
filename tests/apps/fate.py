"""A job whose end is told by its configuration."""

import os
import signal
import time
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from rnn_sweep.hydra_version import BASE

ConfigStore.instance().store(
    name="fate", node={"x": 1.0, "fate": "value", "seconds": 0.0, "once": False, "other": 0, "trial": None}
)


@hydra.main(config_path=None, config_name="fate", **BASE)
def main(cfg: DictConfig) -> object:
    time.sleep(cfg.seconds)
    if cfg.once and Path("happened").exists():
        return cfg.x
    Path("happened").touch()
    if cfg.fate == "raise":
        raise RuntimeError("so it was written")
    if cfg.fate == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    while cfg.fate == "wait" and not Path("go").exists():
        time.sleep(0.05)
    return {"value": cfg.x, "wait": cfg.x, "no_number": float("nan"), "text": "much", "pair": (cfg.x, -cfg.x)}[cfg.fate]


if __name__ == "__main__":
    main()
