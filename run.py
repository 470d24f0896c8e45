"""Train one network, or with ``-m`` many: ``python run.py model.hidden_dim=256``."""

import hydra
from omegaconf import DictConfig

from rnn_sweep.hints import near_names
from rnn_sweep.outcome import Outcome
from rnn_sweep.task import run, sweepable


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
@sweepable
def main(cfg: DictConfig) -> Outcome:
    """Hydra's task function: one call, one run."""
    return run(cfg)


if __name__ == "__main__":
    with near_names("conf", "config"):
        main()
