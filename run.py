"""Train one network, or with ``-m`` many: ``python run.py model.hidden_dim=256``."""

from collections.abc import Mapping
from typing import Any

import rnn_sweep
from rnn_sweep.application import HOOKS, train


@rnn_sweep.main(config_path="conf", config_name="config", hooks=HOOKS)
def main(cfg: Mapping[str, Any], run: rnn_sweep.Run) -> rnn_sweep.Outcome:
    """One call, one run."""
    return train(cfg, run)


if __name__ == "__main__":
    main()
