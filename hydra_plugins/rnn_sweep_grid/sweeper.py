"""``hydra/sweeper=grid``: Hydra's basic sweeper, checked before its first job and recorded as one parent run."""

from __future__ import annotations

from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

ConfigStore.instance().store(
    group="hydra/sweeper",
    name="grid",
    node={"_target_": f"{__name__}.GridSweeper", "max_batch_size": None, "params": None, "report": True},
    provider="rnn_sweep",
)


class GridSweeper(BasicSweeper):
    """Every combination of the values given.

    Args:
        max_batch_size, params: as of Hydra's basic sweeper.
        report: whether ``report.html`` and its pictures are written at the end.
    """

    def __init__(self, max_batch_size: int | None, params: Any = None, *, report: bool = True) -> None:
        super().__init__(max_batch_size, params)
        self._report = report

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra before :meth:`sweep`; ends the program with one message for a setting of the wrong type."""
        from rnn_sweep.isolation import isolated
        from rnn_sweep.sweep.grid import check

        check(config)
        super().setup(hydra_context=hydra_context, task_function=isolated(task_function), config=config)
        self._task = task_function

    def sweep(self, arguments: list[str]) -> Any:
        """Check every combination, then run them all; ends the program with one message for a user's mistake."""
        from rnn_sweep.report.grid import tell
        from rnn_sweep.sweep.grid import recorded
        from rnn_sweep.sweep.left_jobs import LeftJobs

        assert self.config is not None  # noqa: S101 - Hydra called setup before
        assert self.hydra_context is not None  # noqa: S101
        assert self.launcher is not None  # noqa: S101
        typed = [*self._parse_config(), *arguments]
        told = tell if self._report else None
        with recorded(self._task, self.config, self.hydra_context, typed, self.split_arguments, told) as grid:
            if grid.done:
                self.launcher = LeftJobs(self.launcher, grid.done)  # type: ignore[assignment]
            return super().sweep([*arguments, *grid.identity])

    def validate_batch_is_legal(self, batch: Any) -> None:
        """Nothing is left to check: :meth:`sweep` has composed every combination."""
