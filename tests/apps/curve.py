"""A learning curve, reported step by step: the part of an application that wants pruning."""

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from rnn_sweep.hydra_version import BASE
from rnn_sweep.outcome import Outcome, State
from rnn_sweep.trial import Reporter

ConfigStore.instance().store(name="curve", node={"slope": 1.0, "steps": 10, "diverge": False, "trial": None})


@hydra.main(config_path=None, config_name="curve", **BASE)
def main(cfg: DictConfig) -> Outcome:
    reporter = Reporter(cfg.trial)
    value = 0.0
    for step in range(cfg.steps):
        value = cfg.slope * (step + 1)
        if not reporter.report(step, value):
            return Outcome(State.PRUNED, (value,), run_id=f"run-{cfg.slope}", epochs=step + 1)
        if cfg.diverge and step == 2:
            return Outcome(State.DIVERGED, (value,), cause="diverged at step 2")
    reporter.note("steps_done", cfg.steps)
    return Outcome(State.COMPLETE, (value,), metrics={"slope": cfg.slope}, run_id=f"run-{cfg.slope}")


if __name__ == "__main__":
    main()
