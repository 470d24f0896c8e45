"""MLflow, kept in one place: no other package of the project imports it.

``check`` says before any training whether the store can be used; ``start_run`` opens a run and returns a
:class:`Run`, whose methods record it. Runs use no global state of MLflow, so several may be open at once.
MLflow itself (a second to import) is imported by the first call that needs it.
"""

from rnn_sweep.tracking.interface import NullRun, Run
from rnn_sweep.tracking.open_run import Opening, start_run
from rnn_sweep.tracking.stale_runs import CONTINUES, NUMBER_TAG, close_abandoned, find_open, parent_of
from rnn_sweep.tracking.store import check

__all__ = [
    "CONTINUES",
    "NUMBER_TAG",
    "NullRun",
    "Opening",
    "Run",
    "check",
    "close_abandoned",
    "find_open",
    "parent_of",
    "start_run",
]
