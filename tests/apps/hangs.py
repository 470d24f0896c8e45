"""``run.py``, whose runs hang in the middle of an epoch where ``seed=2``, as a driver or a network's disk may."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rnn_sweep
from rnn_sweep.application import HOOKS, train

CONF = Path(__file__).resolve().parents[2] / "conf"


@rnn_sweep.main(config_path=str(CONF), config_name="config", hooks=HOOKS)
def main(cfg: Mapping[str, Any], run: rnn_sweep.Run) -> rnn_sweep.Outcome:
    if cfg["seed"] == 2:
        from rnn_sweep.training import Training

        Training.epoch = lambda self, tick: time.sleep(1e6)
    return train(cfg, run)


if __name__ == "__main__":
    main()
