"""Jobs that run one after another in one process, kept from each other: what one leaves does not change the next.

A sweeper or launcher wraps the task function by :func:`isolated`. What the process is like is then noted before each
job and put back after it: a run of MLflow that is still open, the working folder, environment variables, logging,
settings of torch and numpy, random states, figures, signal handlers, standard streams. What cannot be put back, a
process that still runs, is named. Hydra's own ``hydra.job.chdir``, ``hydra.job.env_set`` and ``hydra.job_logging`` are
around it.

What importing a package does to logging stays, as it is done once in a process.
"""

from rnn_sweep.isolation.task import Isolated, isolated

__all__ = ["Isolated", "isolated"]
