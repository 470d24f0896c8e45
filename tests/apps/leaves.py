"""Jobs that leave something behind in their process, and jobs that look whether it is there."""

import logging
import multiprocessing as mp
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from rnn_sweep.hydra_version import BASE

ConfigStore.instance().store(name="leaves", node={"what": "folder", "step": "leave", "trial": None})


def mlflow_leave() -> None:
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{os.environ['FOLDER']}/other.db")
    mlflow.set_experiment("other")
    mlflow.start_run(run_name="outer")
    mlflow.start_run(run_name="inner", nested=True)


def mlflow_look() -> None:
    import mlflow

    assert mlflow.active_run() is None
    assert mlflow.get_tracking_uri() == f"sqlite:///{os.environ['FOLDER']}/usual.db"
    with mlflow.start_run() as run:
        assert run.info.experiment_id == "0"


def folder_look() -> None:
    chdir = HydraConfig.get().job.chdir
    assert os.getcwd() == (HydraConfig.get().runtime.output_dir if chdir else os.environ["FOLDER"])


def environment_leave() -> None:
    os.environ["LEFT"] = "1"
    del os.environ["GIVEN"]
    os.environ.pop("FLAVOUR", None)  # of hydra.job.env_set


def environment_look() -> None:
    assert "LEFT" not in os.environ
    assert os.environ["GIVEN"] == "1"
    assert os.environ.get("FLAVOUR") == HydraConfig.get().job.env_set.get("FLAVOUR")


def handlers_leave() -> None:
    for logger in (logging.getLogger(), logging.getLogger("own")):
        logger.addHandler(logging.FileHandler(f"{os.environ['FOLDER']}/own.log"))
        logger.addFilter(lambda record: False)
    logging.getLogger("own").propagate = False


def handlers_look() -> None:
    own = logging.getLogger("own")
    assert (own.handlers, own.filters, own.propagate) == ([], [], True)
    own.warning("what is logged after the job that had a file")
    assert not Path(os.environ["FOLDER"], "own.log").read_text()


def levels_leave() -> None:
    logging.getLogger("own").disabled = True
    logging.getLogger("own").setLevel(logging.CRITICAL)
    logging.disable(logging.CRITICAL)


def levels_look() -> None:
    assert logging.getLogger("own").isEnabledFor(logging.WARNING)


def torch_leave() -> None:
    import torch

    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_grad_enabled(False)
    torch.use_deterministic_algorithms(True)


def torch_look() -> None:
    import torch

    assert (torch.zeros(1).dtype, torch.zeros(1).device.type) == (torch.float32, "cpu")
    assert torch.is_grad_enabled()
    assert not torch.are_deterministic_algorithms_enabled()


def numpy_leave() -> None:
    import numpy as np

    np.seterr(all="raise")


def numpy_look() -> None:
    import numpy as np

    assert np.geterr()["under"] == "ignore"


def drawn() -> list[float]:
    import numpy as np
    import torch

    return [random.random(), np.random.random(), float(torch.rand(()))]


def random_leave() -> None:
    drawn()  # imports
    import numpy as np
    import torch

    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def random_look() -> None:
    now = drawn()
    random_leave()
    assert all(a != b for a, b in zip(now, drawn(), strict=True))


def figures_leave() -> None:
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    plt.figure()


def figures_look() -> None:
    import matplotlib.pyplot as plt

    assert plt.get_fignums() == []


def process_leave() -> None:
    child = subprocess.Popen(["sleep", "120"])
    Path(os.environ["FOLDER"], "child").write_text(str(child.pid))


def process_look() -> None:
    os.kill(int(Path(os.environ["FOLDER"], "child").read_text()), signal.SIGKILL)


def signals_leave() -> None:
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.alarm(1000)


def signals_look() -> None:
    assert signal.alarm(0) == 0
    assert getattr(signal.getsignal(signal.SIGTERM), "__name__", "") != "<lambda>"


def start_method_leave() -> None:
    mp.set_start_method("spawn")


def stream_leave() -> None:
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - left open
    sys.stdout.close()


def stream_look() -> None:
    print("", end="")


STEPS = {
    "mlflow": (mlflow_leave, mlflow_look),
    "folder": (lambda: os.chdir("/"), folder_look),
    "environment": (environment_leave, environment_look),
    "handlers": (handlers_leave, handlers_look),
    "levels": (levels_leave, levels_look),
    "torch": (torch_leave, torch_look),
    "numpy": (numpy_leave, numpy_look),
    "random": (random_leave, random_look),
    "figures": (figures_leave, figures_look),
    "process": (process_leave, process_look),
    "signals": (signals_leave, signals_look),
    "start_method": (start_method_leave, start_method_leave),  # a second time it is refused
    "stream": (stream_leave, stream_look),
}


@hydra.main(config_path=None, config_name="leaves", **BASE)
def main(cfg: DictConfig) -> float:
    leave, look = STEPS[cfg.what]
    if cfg.step == "leave":
        leave()
        return 1.0
    try:
        look()
    except Exception as error:
        Path(os.environ["FOLDER"], f"found-{cfg.what}").write_text(f"{type(error).__name__}: {error}")
    return 1.0


if os.environ.get("HOOK"):
    main.__wrapped__.rnn_sweep_thread = lambda cfg, folder, overrides: "its jobs are the test's"

if __name__ == "__main__":
    main()
