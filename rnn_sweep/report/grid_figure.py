"""One figure of a finished grid: a metric over a setting, a line for each value of another, mean ± sd over the rest.

A Hydra callback, to be configured by a preset::

    hydra:
      callbacks:
        comparison:
          _target_: rnn_sweep.report.grid_figure.GridFigure
          file: lengths.png
          title: Cells on longer and longer sequences
          x: data.length
          line: model.cell
          metric: test/loss

It reads the folders of the sweep's jobs, nothing else: ``result.json``, ``.hydra/config.yaml`` and, where the runs have
it, ``gradients.json``, which becomes a second panel.
"""

from __future__ import annotations

import json
import logging
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from rnn_sweep.errors import UserError, near
from rnn_sweep.files import CONFIG_FILE, GRADIENTS_FILE, RESULT_FILE, read_result
from rnn_sweep.keys import keys_of
from rnn_sweep.outcome import SCORES, State, metric_names
from rnn_sweep.sweep.node import typed_lines
from rnn_sweep.sweep.space.parameters import bare

if TYPE_CHECKING:
    from matplotlib.axes import Axes

log = logging.getLogger(__name__)

COLORS = ("#d1495b", "#2563eb", "#2d6a4f", "#b7791f", "#6b4fa0", "#7f8fa6")


@dataclass(frozen=True)
class Run:
    """A complete job of the sweep."""

    config: DictConfig
    metrics: Mapping[str, float]
    gradients: Sequence[float | None] | None

    def setting(self, key: str) -> Any:
        """The value of a key such as ``data.length``; None where the configuration has none."""
        return OmegaConf.select(self.config, key)


def runs(folder: Path) -> list[Run]:
    """The complete jobs in a sweep's folder, in the order of their numbers."""
    found = []
    for path in sorted(folder.glob(f"*/{RESULT_FILE}"), key=lambda path: (len(path.parent.name), path.parent.name)):
        result, config = read_result(path), path.parent / ".hydra" / CONFIG_FILE
        if result["state"] != State.COMPLETE.value or not config.is_file():
            continue
        seen = path.with_name(GRADIENTS_FILE)
        norms = json.loads(seen.read_text())["norms"] if seen.is_file() else None
        found.append(Run(OmegaConf.load(config), result["metrics"], norms))  # type: ignore[arg-type]
    return found


@dataclass(frozen=True)
class Point:
    """The runs of one line at one x."""

    x: float
    mean: float
    sd: float
    """Of the sample; 0 where there is one run."""
    count: int


@dataclass(frozen=True)
class GridFigure(Callback):
    """Draws the figure when a sweep has ended, into its folder and among the artifacts of its run in MLflow.

    Args:
        file: name of the PNG file.
        title: heading.
        x: numeric key of the configuration.
        line: key of the configuration, a line for each of its values.
        metric: of the runs.
        baseline: another metric of the runs, drawn as a dashed line.
        x_label, y_label: else the key and the metric.
    """

    file: str
    title: str
    x: str
    line: str
    metric: str
    baseline: str | None = None
    x_label: str | None = None
    y_label: str | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra before the sweeper: ends the program with one message for a name that no job will have."""
        try:
            self.check(config)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(2) from None

    def check(self, config: DictConfig) -> None:
        """Check the names of keys and metrics; a key below a group that is swept may be that of one option only.

        Raises:
            UserError: there is none such.
        """
        varied = {bare(line).partition("=")[0] for line in typed_lines(config, "task")}
        varied |= set(map(bare, config.hydra.sweeper.get("params") or {}))
        known = varied | set(keys_of(config))
        for key in (self.x, self.line):
            if key not in known and key.partition(".")[0] not in varied:
                raise UserError(f"{self.file}: {key!r} is not in the configuration; {near(key, known)}")
        names = metric_names(*SCORES)
        for metric in (self.metric, self.baseline):
            if metric is not None and metric not in names:
                raise UserError(f"{self.file}: no run has {metric!r}; {near(metric, names)}")

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra after the sweeper."""
        folder = Path(config.hydra.sweep.dir)
        keys = (self.x, self.line)
        done = [r for r in runs(folder) if self.metric in r.metrics and None not in map(r.setting, keys)]
        if not done:
            names = ", ".join((*keys, self.metric))
            log.warning("%s was not drawn: no job of %s is complete and has %s", self.file, folder, names)
            return
        path = folder / self.file
        self.draw(done, path)
        self._record(done[0], path)
        print(f"figure: {path}")

    def points(self, done: Sequence[Run]) -> dict[str, list[Point]]:
        """The figure's lines, by name."""
        groups: dict[str, dict[float, list[float]]] = {}
        for run in done:
            line = groups.setdefault(str(run.setting(self.line)), {})
            line.setdefault(float(run.setting(self.x)), []).append(run.metrics[self.metric])
        return {
            name: [
                Point(x, statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0, len(values))
                for x, values in sorted(line.items())
            ]
            for name, line in groups.items()
        }

    def draw(self, done: Sequence[Run], path: Path) -> None:
        """Write the figure."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        longest = max(float(run.setting(self.x)) for run in done)
        seen = [run for run in done if run.gradients and float(run.setting(self.x)) == longest]
        figure = Figure(figsize=(11 if seen else 6, 4.2), dpi=110)
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, 2 if seen else 1, squeeze=False)[0]
        lines = self.points(done)
        colors = dict(zip(lines, COLORS * len(lines), strict=False))
        self._metric_panel(panels[0], done, lines, colors)
        if seen:
            self._gradient_panel(panels[1], seen, colors, longest)
        figure.suptitle(self.title, fontsize=12)
        figure.tight_layout()
        figure.savefig(path)

    def _metric_panel(
        self, axes: Axes, done: Sequence[Run], lines: Mapping[str, Sequence[Point]], colors: Mapping[str, str]
    ) -> None:
        for name, points in lines.items():
            x, mean, sd = [p.x for p in points], [p.mean for p in points], [p.sd for p in points]
            axes.errorbar(x, mean, sd, color=colors[name], marker="o", markersize=4, capsize=3, label=name)
        if self.baseline is not None:
            levels: dict[float, list[float]] = {}
            for run in done:
                if self.baseline in run.metrics:
                    levels.setdefault(float(run.setting(self.x)), []).append(run.metrics[self.baseline])
            level = {x: statistics.fmean(values) for x, values in sorted(levels.items())}
            axes.plot(
                list(level), list(level.values()), color="#555555", linestyle="--", linewidth=1, label=self.baseline
            )
        axes.set_xticks(sorted({p.x for points in lines.values() for p in points}))
        axes.set_yscale("log")
        counts = {p.count for points in lines.values() for p in points}
        over = f"mean ± sd of {max(counts)} runs" if max(counts) > 1 else "one run each"
        _finish(axes, self.x_label or self.x, self.y_label or self.metric, over)

    def _gradient_panel(self, axes: Axes, seen: Sequence[Run], colors: Mapping[str, str], longest: float) -> None:
        for name, color in colors.items():
            curves = [run.gradients or [] for run in seen if str(run.setting(self.line)) == name]
            for i, curve in enumerate(curves):
                points = [(t, norm) for t, norm in enumerate(curve, 1) if norm]
                if points:
                    label = name if i == 0 else None
                    axes.plot(*zip(*points, strict=True), color=color, linewidth=1.2, alpha=0.8, label=label)
        axes.set_yscale("log")
        title = f"gradient of the loss at each state, a line each run ({self.x_label or self.x}: {longest:g})"
        _finish(axes, "time step", "norm", title)

    def _record(self, run: Run, path: Path) -> None:
        """Put the figure among the artifacts of the run that the jobs have as a parent."""
        parent = run.setting("trial.parent_run_id")
        if parent is None:
            return
        from rnn_sweep.config import parse
        from rnn_sweep.tracking import sweep_runs

        sweep_runs.annotate(parse(run.config).tracking, parent, metrics={}, tags={}, files=[path])


def _finish(axes: Axes, x: str, y: str, title: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
