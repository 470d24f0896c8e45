"""Running a training function of the user's own again, and comparing every figure that it logged."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnn_sweep.commands.reproduce import Comparison, compare, environment
from rnn_sweep.commands.runs import read_yaml
from rnn_sweep.errors import UserError
from rnn_sweep.files import CONFIG_FILE, RESULT_FILE, read_result
from rnn_sweep.provenance import source_tags
from rnn_sweep.run.settings import NODE

if TYPE_CHECKING:
    from rnn_sweep.tracking.reading import Recorded
    from rnn_sweep.tracking.store import Store

_OURS = frozenset({"model", "optimizer", "data", "trainer"})
_CLOCK = ("second", "time")
"""In the names of metrics that no repetition gives again."""


def is_own(store: Store, run: Recorded) -> bool:
    """Whether the run is one of a function under ``rnn_sweep.main``, and not of the package's own."""
    if "sweep" in run.tags:
        return False
    tree = read_yaml(store, run, CONFIG_FILE)
    return isinstance(tree, dict) and not tree.keys() >= _OURS


def reproduce(store: Store, run: Recorded) -> Comparison:
    """Run the recorded program again in a temporary folder, without recording it.

    Raises:
        UserError: the run has not ended or left no result, its program is not here, or fails now.
    """
    from rnn_sweep.tracking.reading import fetch

    script = Path(run.tags.get("mlflow.source.name", ""))
    # What a store says is not simply executed: it must be a Python file that is here.
    if script.suffix != ".py" or not script.is_file():
        raise UserError(f"run {run.run_id[:8]} ({run.name}) was made by {str(script)!r}, which is not here")
    nested = NODE in (read_yaml(store, run, CONFIG_FILE) or {})
    with tempfile.TemporaryDirectory() as name:
        recorded = read_result(fetch(store, run, RESULT_FILE, Path(name)))
        folder = Path(name) / "again"
        off = f"{NODE}.tracking.enabled=false" if nested else "tracking.enabled=false"
        line = [sys.executable, str(script), *recorded["overrides"], off, f"hydra.run.dir={folder}"]
        status = subprocess.run(line, check=False).returncode  # noqa: S603 - see above
        if status != 0 or not (folder / RESULT_FILE).is_file():
            raise UserError(f"run {run.run_id[:8]} ({run.name}): its program ended with status {status}")
        again = read_result(folder / RESULT_FILE)
    before, after = _figures(recorded), _figures(again)
    whole = recorded["state"] == "complete"  # one that was pruned is compared as far as it got
    final = {key: value for key, value in before["metrics"].items() if whole}
    final_again = {key: after["metrics"].get(key, float("nan")) for key in final}
    epochs = len(before["history"])
    found, compared = compare(before["history"], after["history"][:epochs], final, final_again)
    return Comparison(epochs, compared, found, None, "this machine", environment(run, source_tags(script)))


def _figures(result: Mapping[str, Any]) -> dict[str, Any]:
    """History and metrics without what a clock has measured."""

    def kept(row: Mapping[str, float]) -> dict[str, float]:
        return {key: value for key, value in row.items() if not any(word in key for word in _CLOCK)}

    return {"metrics": kept(result["metrics"]), "history": [kept(row) for row in result["history"]]}
