"""The typed configuration of one run, and the only place that turns composed YAML into it.

``parse`` takes what Hydra composed (or any mapping of the same shape), checks types, ranges and contradictions, and
returns frozen dataclasses. Every later layer reads those; none reads YAML. Checks that need torch or the data
themselves (optimiser arguments, devices, sizes against the data) are made beside the code that uses them.
"""

from rnn_sweep.config.parsing import parse, to_tree
from rnn_sweep.config.schema import (
    OBJECTIVES,
    Config,
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    SchedulerConfig,
    TrackingConfig,
    TrainerConfig,
)

__all__ = [
    "OBJECTIVES",
    "Config",
    "DataConfig",
    "ModelConfig",
    "OptimizerConfig",
    "SchedulerConfig",
    "TrackingConfig",
    "TrainerConfig",
    "parse",
    "to_tree",
]
