"""The lineage of a population's segments, and the winner's schedule as a file that a run replays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from rnn_sweep.files import SCHEDULE_FILE, replacing
from rnn_sweep.quoting import assigned
from rnn_sweep.sweep.compatibility import ATTR
from rnn_sweep.sweep.identity import prefix
from rnn_sweep.sweep.population import segments
from rnn_sweep.sweep.results import Command
from rnn_sweep.sweep.space.parameters import bare
from rnn_sweep.sweep.space.validate import without_hydra
from rnn_sweep.trial import SEGMENT_ATTR

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

_NODES = ("trial", "tracking")
"""What a run that replays a schedule has of its own."""


def line_of(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The segments that a trial's weights went through, the first one first, itself last."""
    by_number = {each.number: each for each in trials}
    line = [trial]
    while (source := line[0].user_attrs[SEGMENT_ATTR]["source"]) is not None:
        line.insert(0, by_number[source])
    return line


def is_copy(trial: FrozenTrial) -> bool:
    """Whether a segment began with another member's checkpoint."""
    return trial.user_attrs[SEGMENT_ATTR]["copied"] is not None


def schedule(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> list[dict[str, Any]]:
    """What the mutable parameters were for a trial's weights: ``{until, set}`` for each segment."""
    found = []
    for each in line_of(trial, trials):
        attribute = each.user_attrs[SEGMENT_ATTR]
        values = {bare(key): value for key, value in each.params.items() if bare(key) in attribute["keys"]}
        found.append({"until": attribute["until"], "set": values})
    return found


def tree_of(trials: Sequence[FrozenTrial]) -> Sequence[FrozenTrial]:
    """All segments that count, by generation and member."""
    return [trial for _, trial in sorted(segments(trials).items(), key=lambda pair: pair[0][::-1])]


def replay(study: Study, folder: Path, command: Command) -> str | None:
    """The command line that replays the winner's schedule in ``folder``; None where there is none."""
    noted = study.user_attrs.get(ATTR, {}).get("evolution")
    key, path = (noted or {}).get("schedule"), folder / SCHEDULE_FILE
    return command.plain([assigned(key, str(path))]) if key and path.is_file() else None


def write(trial: FrozenTrial, trials: Sequence[FrozenTrial], config: DictConfig, folder: Path, study: str) -> Path:
    """Write the schedule of a trial as :data:`SCHEDULE_FILE`; see :mod:`rnn_sweep.run.schedules`.

    Args:
        trial: the winner.
        trials: of its study.
        config: composed with the trial's overrides.
        folder: where.
        study: its study's name.
    """
    import yaml

    own = prefix(config)
    tree: Any = OmegaConf.to_container(without_hydra(config), resolve=False, enum_to_str=True)
    node: Mapping[str, Any] = tree[own.rstrip(".")] if own else tree
    kept = {key: value for key, value in node.items() if key not in _NODES}
    content = {
        "study": study,
        "trial": trial.number,
        "value": trial.values[0],
        "segments": schedule(trial, trials),
        "config": {**tree, own.rstrip("."): kept} if own else kept,
    }
    path = folder / SCHEDULE_FILE
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path
