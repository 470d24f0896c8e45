"""A function of three epochs under ``rnn_sweep.main``, of which some wait in their second one until they may go on."""

import os
import time
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore

import rnn_sweep

HOME, SCALE = Path.cwd(), int(os.environ.get("SCALE", "1"))
NODE = {"x": 1, "held": [], "home": str(HOME), "scale": SCALE, "seconds": 0.0, "epochs": 3, "objective": "sum"}
ConfigStore.instance().store(name="held", node=NODE)


@rnn_sweep.main(config_name="held")
def main(cfg: Any, run: rnn_sweep.Run) -> None:
    home, total = Path(cfg.home), run.keep([0])
    for epoch in run.epochs(cfg.epochs):
        with (home / "epochs").open("a") as file:
            file.write(f"{cfg.x} {epoch}\n")
        while epoch == 2 and cfg.x in cfg.held and not (home / "go").exists():
            time.sleep(0.05)
        time.sleep(cfg.seconds)
        total[0] += cfg.x * epoch * cfg.scale
        run.log({"sum": total[0]})


if __name__ == "__main__":
    main()
