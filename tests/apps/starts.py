"""A job that starts processes and threads of its own, and leaves some."""

import multiprocessing as mp
import threading
import time

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from rnn_sweep.hydra_version import BASE

ConfigStore.instance().store(name="starts", node={"x": 1.0, "how": "nothing", "trial": None})


def double(x: float) -> float:
    """What a process of the job computes."""
    return 2 * x


def loaded(x: float) -> float:
    """The same by a data loader's workers."""
    from torch.utils.data import DataLoader

    return float(sum(batch.sum() for batch in DataLoader([x, x], num_workers=2)))


def by_joblib(x: float) -> float:
    """The same by processes that outlive the call."""
    from joblib import Parallel, delayed

    return float(sum(Parallel(n_jobs=2)(delayed(float)(x) for _ in range(2))))


def grown(x: float) -> float:
    """The same with 200 MB that stay."""
    time.sleep(1.1)
    kept.append(b"x" * 200_000_000)
    return 2 * x


kept: list[bytes] = []


def left(x: float, what: object) -> float:
    """The same beside something that does not end."""
    what.start()
    return 2 * x


def in_context(x: float, method: str | None) -> float:
    """The same by a pool of a start method; a spawned process looks the function up in this program."""
    with mp.get_context(method).Pool(1) as pool:
        return pool.map(double, [x])[0]


@hydra.main(config_path=None, config_name="starts", **BASE)
def main(cfg: DictConfig) -> float:
    ways = {
        "nothing": double,
        "grow": grown,
        "default": lambda x: in_context(x, None),
        "fork": lambda x: in_context(x, "fork"),
        "spawn": lambda x: in_context(x, "spawn"),
        "forkserver": lambda x: in_context(x, "forkserver"),
        "loader": loaded,
        "joblib": by_joblib,
        "thread": lambda x: left(x, threading.Thread(target=time.sleep, args=(1e6,), name="endless")),
        "process": lambda x: left(x, mp.Process(target=time.sleep, args=(1e6,), name="endless")),
    }
    value = ways[cfg.how](cfg.x)
    assert value == 2 * cfg.x
    return value


if __name__ == "__main__":
    main()
