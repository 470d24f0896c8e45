"""A ``@hydra.main`` of the application's own, with the run as a block."""

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

import rnn_sweep

NODE = {"slope": 1.0, "epochs": 4, "objective": "score", "trial": None, "tracking": {"enabled": False}}
ConfigStore.instance().store(name="block", node=NODE)


@hydra.main(version_base="1.3", config_path=None, config_name="block")
def main(cfg: DictConfig) -> rnn_sweep.Outcome:
    with rnn_sweep.start_run(cfg) as run:
        for epoch in run.epochs(cfg.epochs):
            run.log({"score": cfg.slope * epoch})
    return run.outcome


if __name__ == "__main__":
    main()
