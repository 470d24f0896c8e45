"""``run.py``, whose runs hang in the middle of a batch where ``seed=2``, as a driver or a network's disk may."""

import time
from pathlib import Path

import hydra
from omegaconf import DictConfig

from rnn_sweep.outcome import Outcome
from rnn_sweep.task import run, sweepable

CONF = Path(__file__).resolve().parents[2] / "conf"


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
@sweepable
def main(cfg: DictConfig) -> Outcome:
    if cfg.seed == 2:
        from rnn_sweep.training import Lane

        Lane.step = lambda self: time.sleep(1e6)
    return run(cfg)


if __name__ == "__main__":
    main()
