"""A view of MLflow's table and charts made for one sweep: MLflow's own saved view, kept as a tag of the experiment.

The UI lists it under *Views* by the sweep's name. Its form is MLflow's own and undocumented; where another version
does not know it, the address opens the plain table.
"""

from __future__ import annotations

import base64
import json
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TAG = "mlflow.sharedViewState."
"""Followed by what ``viewStateShareKey`` in the address names."""
_GROUP = ("cell", "_target_", "name")
"""The parameter that tells a configuration group's options apart."""


@dataclass(frozen=True)
class View:
    """What is to be seen of a sweep.

    Args:
        name: the sweep's.
        objective: the metric that holds a trial's objective.
        maximize: whether more of it is better.
        curves: metrics of each epoch.
        params: the swept parameters, as the runs record them.
    """

    name: str
    objective: str
    maximize: bool
    curves: Sequence[str]
    params: Sequence[str]


def trials_of(run_id: str) -> str:
    """MLflow's filter for the runs below a sweep's run."""
    return f"tags.`mlflow.parentRunId` = '{run_id}'"


def recorded(swept: Sequence[str], params: Mapping[str, str]) -> list[str]:
    """The swept parameters as runs record them: of a configuration group the one that tells its options apart."""
    found = []
    for name in swept:
        names = (name, *(f"{name}.{each}" for each in _GROUP))
        found += [key for key in names if key in params][:1]
    return found


def encoded(view: View, run_id: str) -> str:
    """The tag's value: the table's columns and order, and the charts."""
    now = time.time_ns() // 1_000_000
    packed = base64.b64encode(zlib.compress(json.dumps(_state(view, run_id)).encode())).decode()
    return json.dumps({"name": view.name, "createdAt": now, "updatedAt": now, "state": f"deflate;{packed}"})


def _state(view: View, run_id: str) -> dict[str, Any]:
    sections = [_section("parameters", 1), _section("curves", 3)]
    parallel = {"type": "PARALLEL", "selectedParams": list(view.params), "selectedMetrics": [view.objective]}
    charts = [_chart("parameters", "parameters and objective", **parallel, showAllRuns=True)] if view.params else []
    charts += [_line(key) for key in view.curves]
    columns = ["tags.`state`", f"metrics.`{view.objective}`", *(f"params.`{key}`" for key in view.params)]
    order = ["attributes.`Run Name`", *columns, "attributes.`Duration`", "attributes.`Dataset`", "runDateAndNestInfo"]
    return {
        "searchFilter": trials_of(run_id),
        "orderByKey": f"metrics.`{view.objective}`",
        "orderByAsc": not view.maximize,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [*columns, "attributes.`Dataset`"],
        "columnOrder": order,
        "columnWidths": dict.fromkeys(columns, 130) | {order[0]: 120},
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": charts,
        "compareRunSections": sections,
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": False,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
    }


def _section(name: str, columns: int) -> dict[str, Any]:
    return {"uuid": name, "name": name, "display": True, "isReordered": False, "columns": columns, "cardHeight": 360}


def _chart(section: str, title: str, **more: object) -> dict[str, Any]:
    base = {"uuid": title, "displayName": title, "metricSectionId": section, "deleted": False, "isGenerated": False}
    return {**base, "runsCountToCompare": 10, **more}


def _line(metric: str) -> dict[str, Any]:
    scales = {"xAxisScaleType": "linear", "scaleType": "linear", "range": {}, "lineSmoothness": 0}
    axes = {"xAxisKey": "step", "selectedXAxisMetricKey": "", "yAxisKey": "metric", "yAxisExpressions": []}
    shared = {"ignoreOutliers": False, "useGlobalXaxisKey": True, "useGlobalLineSmoothing": True}
    return _chart("curves", metric, type="LINE", metricKey=metric, **scales, **axes, **shared)
