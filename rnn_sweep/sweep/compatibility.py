"""Compatibility of a sweep with the study it resumes: what may change, and what would make trials mean something else.

Two trials of a study are compared by their values. What a value means (objective, direction, constraints, how many
seeds it is the mean of) therefore stays; how trials are found, how many and where they run may change. The table is in
``docs/sweeps.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rnn_sweep.errors import UserError
from rnn_sweep.sweep import constraints, replicates
from rnn_sweep.sweep import study as studies
from rnn_sweep.sweep.evolution import Evolution
from rnn_sweep.sweep.settings import Settings
from rnn_sweep.sweep.space.parameters import Param, Space, bare, describe

if TYPE_CHECKING:
    from optuna import Study

ATTR = "sweep"
"""Study attribute: the mapping that :func:`rnn_sweep.sweep.study_metadata.note` writes."""
_OTHERWISE = "take another study_name"


def check(study: Study, settings: Settings, space: Space, objectives: Sequence[str] | None) -> None:
    """Check that a stored study can go on with these settings and this space.

    Args:
        study: the study.
        settings: those of the sweep that is about to go on.
        space: what it searches.
        objectives: names of the values that a job returns, where the application tells them.

    Raises:
        UserError: it cannot; the message names the key, what it was and what it would be.
    """
    trials = study.get_trials(deepcopy=False)
    known = study.metric_names
    if known is not None and objectives is not None and trials:
        _same(study, "objective", known, objectives)
    before, now = [d.name.lower() for d in study.directions], list(settings.directions)
    _same(study, "hydra.sweeper.direction", before, now)
    count = _replicates(study)
    if count is not None:
        _same(study, "hydra.sweeper.replicates", [str(count)], [str(settings.replicates)])
    _check_constraints(study, settings)
    searched: dict[str, Any] = {}
    for trial in trials:
        searched.update(trial.distributions)
    for key in searched.keys() & space.params.keys():
        _check_param(key, study.study_name, searched[key], space.params[key])


def check_population(study: Study, evolution: Evolution | None) -> None:
    """Check that a study's trials are the segments of the same kind of population, or of none. Raises UserError."""
    known = study.user_attrs.get(ATTR)
    if known is None:
        return
    before, now = known.get("evolution") or {}, evolution.described() if evolution is not None else {}
    if bool(before) != bool(now):
        kind = "is a population" if before else "is no population"
        raise UserError(f"hydra/sweeper cannot change: the study {study.study_name!r} {kind}; {_OTHERWISE}")
    for key in now:
        _same(study, f"hydra.sweeper.{key}", [str(before[key])], [str(now[key])])


def _same(study: Study, key: str, before: Sequence[str], now: Sequence[str]) -> None:
    if list(before) != list(now):
        told, got = ", ".join(before) or "none", ", ".join(now) or "none"
        raise UserError(f"{key} cannot change: the study {study.study_name!r} has {told}, got {got}; {_OTHERWISE}")


def _replicates(study: Study) -> int | None:
    """How many jobs a trial of the study is; None where that is not known."""
    noted = study.user_attrs.get(ATTR, {}).get("replicates")
    if noted is not None:
        return int(noted)
    rows = [t.user_attrs.get(replicates.ATTR, [None]) for t in study.get_trials(deepcopy=False) if t.values is not None]
    return len(rows[0]) if rows else None


def _check_constraints(study: Study, settings: Settings) -> None:
    """A trial without a value for a constraint is no feasible one, and a sampler could not learn from it."""
    wanted = {c.text for c in constraints.parse_constraints(settings.constraints)}
    for trial in study.get_trials(deepcopy=False):
        if trial.state.name == "COMPLETE" and set(trial.constraints) != wanted:
            _same(study, "hydra.sweeper.constraints", sorted(trial.constraints), sorted(wanted))


def _check_param(key: str, name: str, before: Any, param: Param) -> None:
    from optuna.distributions import check_distribution_compatibility

    try:
        check_distribution_compatibility(before, param.distribution)
    except ValueError:
        raise UserError(
            f"{key}: the study {name!r} has searched {describe(before)} so far and cannot go on with "
            f"{param.describe()}; choices must stay the same and scales, too: {_OTHERWISE}"
        ) from None


def changes(study: Study, space: Space) -> list[str]:
    """What differs from the latest sweep on the study and may change what a value means; to be said, not refused."""
    known: Mapping[str, Any] = study.user_attrs.get(ATTR, {})
    if "fixed" not in known:
        return []
    before, now = _values(known["fixed"]), _values(space.fixed)
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    searched = {bare(key) for key in space.params}
    told = []
    for key in keys:
        later = "search it" if key in searched else f"with {now.get(key, 'the default')}"
        told.append(f"{key}: the trials so far ran with {before.get(key, 'the default')}, those from now on {later}")
    return told


def _values(fixed: Sequence[str]) -> dict[str, str]:
    """Overrides by bare key; one that deletes a key has the value ``~``."""
    parts = [line.partition("=") for line in fixed]
    return {bare(key): value if mark else "~" for key, mark, value in parts}


def used_up(study: Study, n_trials: int) -> str | None:
    """What to say of a study with which there is nothing to do; None where there is."""
    trials = study.get_trials(deepcopy=False)
    done = studies.counted(trials)
    if len(done) < n_trials or any(t.state.name == "RUNNING" for t in done):
        return None
    ended = max((t.datetime_complete for t in done if t.datetime_complete is not None), default=None)
    source = study.user_attrs.get(ATTR, {}).get("source", {})
    commit = str(source.get("mlflow.source.git.commit", ""))[:10]
    code = f" by commit {commit}{' with changes' if source.get('git.dirty') == 'true' else ''}" if commit else ""
    when = f", the last at {ended:%Y-%m-%d %H:%M}{code}" if ended else ""
    rule = f"hydra.sweeper.n_trials={n_trials} counts all trials of the study, which has {len(done)}{when}"
    how = "go on with a larger hydra.sweeper.n_trials, or begin anew with another hydra.sweeper.study_name"
    return f"nothing to run: {rule}; {how}"
