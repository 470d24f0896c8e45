"""The study: its name and place, creating or resuming it, its budget, and the trials to run again."""

from __future__ import annotations

import datetime
import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnn_sweep.errors import UserError
from rnn_sweep.storage import masked, open_storage, quiet
from rnn_sweep.sweep.settings import Settings
from rnn_sweep.sweep.space import Param, Space, describe
from rnn_sweep.trial import PRUNER_ATTR, RETRY_ATTR, build_pruner

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

ATTEMPT_ATTR = "attempt"
FAILURE_ATTR = "failure"
"""Trial attribute: why it failed, one of :data:`rnn_sweep.sweep.settings.CAUSES`."""
SURPLUS_ATTR = "surplus"
"""Trial attribute of one that two sweepers asked for at once, beyond the budget; it never ran."""

FOLDER = "studies"
_FIRST = (
    *(
        "amber",
        "bold",
        "brave",
        "bright",
        "calm",
        "clear",
        "crisp",
        "eager",
        "fair",
        "fleet",
        "keen",
        "lucid",
    ),
    *("mellow", "noble", "quick", "quiet", "rapid", "sharp", "smooth", "steady", "still", "swift", "vivid"),
)
_SECOND = (
    *(
        "badger",
        "crane",
        "dolphin",
        "eagle",
        "falcon",
        "finch",
        "fox",
        "hare",
        "heron",
        "ibis",
        "jay",
        "lark",
    ),
    *("lynx", "marten", "otter", "owl", "plover", "puffin", "raven", "robin", "seal", "swan", "tern", "wren"),
)


def storage_url(settings: Settings, name: str, folder: Path) -> str:
    """Where the study is: the user's URL, or a journal file of its own in ``folder/studies``."""
    if settings.storage is None:
        return f"journal://{folder.resolve() / FOLDER / name}.journal"
    kind, _, place = settings.storage.partition("://")
    if kind == "journal" or (kind == "sqlite" and place.startswith("/")):
        path = place if kind == "journal" else place[1:]
        absolute = folder.resolve() / path  # jobs may run in other folders
        return f"journal://{absolute}" if kind == "journal" else f"sqlite:///{absolute}"
    return settings.storage


def is_new_file(url: str) -> bool:
    """Whether opening ``url`` would create a file."""
    kind, _, place = url.partition("://")
    path = {"journal": place, "sqlite": place[1:]}.get(kind)
    return path is not None and not Path(path).exists()


def generated_name(app: str) -> str:
    """A readable study name; ask again where it is taken."""
    stem = re.sub(r"[^\w-]+", "-", app).strip("-") or "sweep"
    today = datetime.date.today().isoformat()
    return f"{stem}-{today}-{secrets.choice(_FIRST)}-{secrets.choice(_SECOND)}"


def find(storage: BaseStorage, name: str) -> int | None:
    """The id of a study, or None."""
    try:
        return storage.get_study_id_from_name(name)
    except KeyError:
        return None


def check_stored(storage: BaseStorage, name: str, settings: Settings, space: Space) -> None:
    """Check that a study of this name, where there is one, can go on with these settings and this space.

    Raises:
        UserError: other directions, or a parameter that was something else in it.
    """
    study_id = find(storage, name)
    if study_id is None:
        return
    stored = tuple(d.name.lower() for d in storage.get_study_directions(study_id))
    if stored != settings.directions:
        raise UserError(
            f"hydra.sweeper.study_name={name} was begun with direction {', '.join(stored)}, "
            f"got {', '.join(settings.directions)}; take another study_name or the same direction"
        )
    known: dict[str, Any] = {}
    for trial in storage.get_all_trials(study_id, deepcopy=False):
        known.update(trial.distributions)
    for key in known.keys() & space.params.keys():
        _check_same(key, name, known[key], space.params[key])


def _check_same(key: str, name: str, before: Any, param: Param) -> None:
    from optuna.distributions import check_distribution_compatibility

    try:
        check_distribution_compatibility(before, param.distribution)
    except ValueError:
        raise UserError(
            f"{key}: the study {name!r} has searched {describe(before)} so far and cannot go on with "
            f"{param.describe()}; choices must stay the same and scales, too: take another study_name"
        ) from None


def create(name: str | None, app: str, settings: Settings, folder: Path) -> tuple[Study, str]:
    """Load or create the study (with a generated name where none is given).

    Returns:
        The study and the URL of its storage.
    """
    import optuna
    from optuna.study import StudyDirection

    while True:
        chosen = name or generated_name(app)
        url = storage_url(settings, chosen, folder)
        storage = open_storage(url)
        if name is None and find(storage, chosen) is not None:
            continue
        with quiet():
            study = optuna.create_study(
                study_name=chosen,
                storage=storage,
                directions=[StudyDirection[d.upper()] for d in settings.directions],
                pruner=build_pruner(settings.pruner),
                load_if_exists=True,
            )
        if settings.pruner is not None:
            study.set_user_attr(PRUNER_ATTR, json.dumps(settings.pruner))
        return study, url


@contextmanager
def ask_lock(url: str) -> Iterator[None]:
    """Hold the others back while this sweeper counts and asks, where the study is in a file."""
    from filelock import FileLock

    kind, _, place = url.partition("://")
    path = {"journal": place, "sqlite": place[1:]}.get(kind)
    with FileLock(f"{path}.ask.lock", poll_interval=0.002) if path else nullcontext():
        yield


def counted(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that use up the budget: all but waiting ones, those that were tried again, and surplus."""
    from optuna.trial import TrialState

    again = {t.user_attrs[RETRY_ATTR] for t in trials if RETRY_ATTR in t.user_attrs}
    return [
        t
        for t in trials
        if t.state is not TrialState.WAITING and t.number not in again and SURPLUS_ATTR not in t.user_attrs
    ]


def requeue(study: Study, url: str, retries: Mapping[str, int]) -> list[int]:
    """Enqueue the parameters of each failed trial once more, where its cause allows another attempt.

    Which trials are due is read from the study each time: a sweeper that was killed between marking a trial and
    enqueueing it again has lost nothing.

    Returns:
        The numbers of the trials that are tried again.
    """
    from optuna.trial import TrialState

    with ask_lock(url), quiet():
        trials = study.get_trials(deepcopy=False)
        again = {t.user_attrs[RETRY_ATTR] for t in trials if RETRY_ATTR in t.user_attrs}
        failed = [t for t in trials if t.state is TrialState.FAIL and t.number not in again]
        due = [t for t in failed if _attempt(t) <= retries.get(str(t.user_attrs.get(FAILURE_ATTR)), 0)]
        for trial in due:
            params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
            study.enqueue_trial(params, user_attrs={RETRY_ATTR: trial.number, ATTEMPT_ATTR: _attempt(trial)})
    return [trial.number for trial in due]


def _attempt(trial: FrozenTrial) -> int:
    """Which try the next one would be, counted from 1 after the first."""
    return int(trial.user_attrs.get(ATTEMPT_ATTR, 0)) + 1


def shown(url: str) -> str:
    """A storage URL for the terminal: without a password, and a journal file as a path from here."""
    kind, _, place = masked(url).partition("://")
    if kind != "journal":
        return masked(url)
    path = Path(place)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else place
