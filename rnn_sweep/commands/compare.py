"""Several studies beside each other: table, page and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rnn_sweep.commands.studies import find, folder_name
from rnn_sweep.errors import UserError
from rnn_sweep.quoting import command_line
from rnn_sweep.redaction import masked
from rnn_sweep.report.convergence import Convergence, convergence
from rnn_sweep.report.side_by_side import Comparison, write
from rnn_sweep.storage import quiet
from rnn_sweep.sweep import study_metadata
from rnn_sweep.sweep.study import shown

if TYPE_CHECKING:
    from optuna import Study


@dataclass(frozen=True)
class Found:
    """A study that was asked for."""

    study: Study
    url: str
    """Of its storage."""
    label: str
    storage: str | None
    """As given."""


def open_studies(names: Sequence[str], storages: Sequence[str]) -> list[Found]:
    """The studies to compare.

    Args:
        names: of two studies or more.
        storages: where they are: none for ``studies/``, one for all, or one for each.

    Raises:
        UserError: fewer than two, one of them twice, one that is not there (with near names), or studies that do not
            search for the same.
    """
    if len(names) < 2:
        raise UserError(f"compare needs two studies or more, got {', '.join(map(repr, names)) or 'none'}")
    if len(storages) not in (0, 1, len(names)):
        rule = "given once for all studies, or once for each of them in their order"
        raise UserError(f"--storage must be {rule}; got {len(storages)} for {len(names)} studies")
    each = list(storages) if len(storages) == len(names) else [*storages, None][:1] * len(names)
    found = [find(name, storage) for name, storage in zip(names, each, strict=True)]
    places = [(study.study_name, url) for study, url in found]
    twice = next((name for n, (name, url) in enumerate(places) if (name, url) in places[:n]), None)
    if twice is not None:
        raise UserError(f"compare needs different studies, got {twice!r} twice")
    studies = [
        Found(study, url, f"{name} in {shown(url)}" if names.count(name) > 1 else name, storage)
        for name, storage, (study, url) in zip(names, each, found, strict=True)
    ]
    _check_same(studies)
    return studies


def _check_same(studies: Sequence[Found]) -> None:
    for each in studies:
        count = len(each.study.directions)
        if count > 1:
            raise UserError(f"compare is for studies of one objective; {each.label!r} has {count}")
    wanted = [_goal(each.study) for each in studies]
    for each, goal in zip(studies, wanted, strict=True):
        if goal != wanted[0]:
            rule = f"{studies[0].label!r} is to {wanted[0]}, {each.label!r} to {goal}"
            raise UserError(f"compare is for studies that search for the same: {rule}")


def _goal(study: Study) -> str:
    names = study.metric_names
    return f"{study.directions[0].name.lower()} {names[0] if names else 'a value without a name'}"


def compare(studies: Sequence[Found]) -> Comparison:
    """Read the studies."""
    with quiet():
        return Comparison([convergence(each.study, each.label) for each in studies])


def show(studies: Sequence[Found], comparison: Comparison, output: Path | None, console: Console) -> None:
    """Print the table, write the page, say where it is.

    Raises:
        UserError: the page cannot be written.
    """
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for study in comparison.studies:
        table.add_column(Text(study.label), justify="right", overflow="fold")
    for n, (name, cells) in enumerate(comparison.table()):
        table.add_row(name, *map(Text, cells), style="bold" if n == 0 else "")
    console.print(table)
    for sentence in comparison.sentences():
        console.print(sentence, soft_wrap=True, markup=False, highlight=False)
    folder = output or Path("reports", folder_name("-vs-".join(each.study.study_name for each in studies)))
    try:
        page = write(comparison, folder, list(_sources(studies)), list(_commands(studies)))
    except OSError as error:
        raise UserError(f"--output must be a folder that can be written, got '{folder}': {error}") from None
    console.print(f"page: {page}", soft_wrap=True, markup=False, highlight=False)


def _commands(studies: Sequence[Found]) -> Iterator[str]:
    """That make this page and the report of each study again."""
    given = [[] if each.storage is None else ["--storage", masked(each.storage)] for each in studies]
    once = given[:1] if all(option == given[0] for option in given) else given
    names = [each.study.study_name for each in studies]
    yield command_line(["rnn-sweep", "compare", *names, *(word for option in once for word in option)])
    for name, option in zip(names, given, strict=True):
        yield command_line(["rnn-sweep", "report", name, *option])


def _sources(studies: Sequence[Found]) -> Iterator[tuple[str, str]]:
    """Where each study is and what made it."""
    for each in studies:
        known = each.study.user_attrs.get(study_metadata.ATTR, {})
        made = f"sampler {known.get('sampler') or 'TPESampler'}, pruner {known.get('pruner') or 'none'}"
        commit = known.get("source", {}).get("mlflow.source.git.commit", "")
        told = [masked(each.url), *([made] if known else []), *([f"commit {commit[:10]}"] if commit else [])]
        yield each.label, "; ".join(told)


def as_json(studies: Sequence[Found], comparison: Comparison) -> str:
    """The comparison as one JSON object."""
    first = comparison.studies[0]
    tree = {
        "objective": first.objective,
        "direction": "maximize" if first.maximize else "minimize",
        "ranking": [study.label for study in comparison.ranking],
        "p_value": comparison.p_value,
        "equal": comparison.equal,
        "studies": [_tree(*pair, comparison) for pair in zip(studies, comparison.studies, strict=True)],
    }
    return json.dumps(tree, indent=2, default=str)


def _tree(found: Found, study: Convergence, comparison: Comparison) -> dict[str, Any]:
    best = study.best
    after = {axis: study.at(axis, limit) for axis, limit in comparison.equal.items()}
    return {
        "label": study.label,
        "name": found.study.study_name,
        "storage": masked(found.url),
        "counts": study.counts,
        "best": best and {**asdict(best), "mean": best.mean, "margin": best.margin},
        "after": {axis: step and step.best for axis, step in after.items()},
        "steps": [asdict(step) for step in study.steps],
    }
