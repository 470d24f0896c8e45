"""The package's own application from anywhere: what ``python run.py`` is in a clone."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import rnn_sweep
from rnn_sweep.application import HOOKS, train
from rnn_sweep.files import configuration


@rnn_sweep.main(config_path=str(configuration()), config_name="config", hooks=HOOKS)
def main(cfg: Mapping[str, Any], run: rnn_sweep.Run) -> rnn_sweep.Outcome:
    """One call, one run; the module's name is the job's."""
    return train(cfg, run)


def start(arguments: Sequence[str]) -> None:
    """Run it with a command line; ends as ``python run.py`` does."""
    sys.argv[1:] = arguments
    sys.path.insert(0, os.getcwd())  # where a _target_ of the user's own may be, as it is for a script
    main()
