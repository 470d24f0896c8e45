"""The study: its name and place, creating or resuming it, its budget, and the trials to run again."""

from __future__ import annotations

import datetime
import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnn_sweep.redaction import masked
from rnn_sweep.storage import location, open_storage, quiet
from rnn_sweep.storage.identifiers import id_of_trial, storage_of
from rnn_sweep.sweep.settings import Settings
from rnn_sweep.trial import (
    CONFIRM_ATTR,
    PRUNED_ATTR,
    PRUNER_ATTR,
    RETRY_ATTR,
    SEGMENT_ATTR,
    STOP_ATTR,
    YIELD,
    build_pruner,
)

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

ATTEMPT_ATTR = "attempt"
FAILURE_ATTR = "failure"
"""Trial attribute: why it failed, one of :data:`rnn_sweep.sweep.settings.CAUSES`, or :data:`STOPPED`."""
STOPPED = "stopped"
"""Why a trial of several objectives ended that a person has stopped: Optuna has no pruned ones of those."""
SURPLUS_ATTR = "surplus"
"""Trial attribute of one that two sweepers asked for at once, beyond the budget; it never ran."""
REUSED_ATTR = "reused"
"""Trial attribute of one that never ran: ``{study, trial}``, whose outcome it has."""

_UNCOUNTED = (SURPLUS_ATTR, CONFIRM_ATTR)
"""Attributes of trials that use up no budget."""

ID_ATTR = "id"
"""Study attribute: tells a study from another one of the same name that was deleted."""

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
    return location.absolute(settings.storage, folder)  # jobs may run in other folders


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
        with ask_lock(url):
            if ID_ATTR not in study.user_attrs:
                study.set_user_attr(ID_ATTR, secrets.token_hex(8))
        if settings.pruner is not None:
            study.set_user_attr(PRUNER_ATTR, json.dumps(settings.pruner))
        return study, url


@contextmanager
def ask_lock(url: str) -> Iterator[None]:
    """Hold the others back while this sweeper counts and asks, where the study is in a file."""
    from filelock import FileLock

    path = location.lock_file(url)
    with FileLock(path, poll_interval=0.002) if path else nullcontext():
        yield


def counted(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that use up the budget: all but waiting and confirming ones, those tried again, and surplus."""
    from optuna.trial import TrialState

    again = {t.user_attrs[RETRY_ATTR] for t in trials if RETRY_ATTR in t.user_attrs}
    begun = [t for t in trials if t.state is not TrialState.WAITING and t.number not in again]
    return [t for t in begun if t.user_attrs.keys().isdisjoint(_UNCOUNTED)]


def requeue(study: Study, url: str, retries: Mapping[str, int]) -> list[int]:
    """Enqueue the parameters of each failed trial once more, where its cause allows another attempt.

    Which trials are due is read from the study each time: a sweeper that was killed between marking a trial and
    enqueueing it again has lost nothing.

    Returns:
        The numbers of the trials that are tried again.
    """
    from optuna.trial import TrialState, create_trial

    with ask_lock(url), quiet():
        due = due_again(study.get_trials(deepcopy=False), retries)
        for trial in due:
            params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
            attempt = _attempt(trial) - _has_yielded(trial)  # to yield is no failure
            user_attrs = {RETRY_ATTR: trial.number, ATTEMPT_ATTR: attempt}
            kept = (CONFIRM_ATTR, SEGMENT_ATTR)
            user_attrs |= {key: trial.user_attrs[key] for key in kept if key in trial.user_attrs}
            system_attrs = {"fixed_params": params, **_carried(trial)}
            study.add_trial(create_trial(state=TrialState.WAITING, user_attrs=user_attrs, system_attrs=system_attrs))
    return [trial.number for trial in due]


def due_again(trials: Sequence[FrozenTrial], retries: Mapping[str, int]) -> list[FrozenTrial]:
    """The failed trials that are to be tried again and have not been."""
    from optuna.trial import TrialState

    again = {t.user_attrs[RETRY_ATTR] for t in trials if RETRY_ATTR in t.user_attrs}
    failed = [t for t in trials if t.state is TrialState.FAIL and t.number not in again]
    return [t for t in failed if _has_yielded(t) or _attempt(t) <= retries.get(str(t.user_attrs.get(FAILURE_ATTR)), 0)]


def ask_to_yield(study: Study, trial: Trial) -> None:
    """Let a trial that runs leave its place after its epoch."""
    from optuna.exceptions import UpdateFinishedTrialError

    with suppress(UpdateFinishedTrialError):  # another sweeper has taken this one for dead
        storage_of(study).set_trial_user_attr(id_of_trial(trial), STOP_ATTR, YIELD)


def has_yielded(study: Study, trial_id: int) -> bool:
    """Whether the trial has left its place because its study was paused, or its sweeper was to run fewer."""
    return bool(storage_of(study).get_trial(trial_id).user_attrs.get(STOP_ATTR) == YIELD)


def why_pruned(study: Study, trial_id: int) -> str | None:
    """Of a trial that was stopped: who did that, or an empty text where its reporter has answered "stop"; else None."""
    mark = storage_of(study).get_trial(trial_id).user_attrs.get(PRUNED_ATTR)
    return mark if mark is None or isinstance(mark, str) else ""


def adopt(study: Study, trial: FrozenTrial) -> bool:
    """Give up a trial whose sweeper is dead (pruned, if it was); False when another sweeper was faster."""
    import optuna
    from optuna.trial import TrialState

    why = why_pruned(study, id_of_trial(trial))
    pruned = why is not None
    notes = {"cause": why or "its sweeper died"} | ({} if pruned else {FAILURE_ATTR: "orphaned"})
    try:
        for key, value in notes.items():
            storage_of(study).set_trial_user_attr(id_of_trial(trial), key, value)
        study.tell(trial.number, state=TrialState.PRUNED if pruned else TrialState.FAIL)
    except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
        return False
    return True


def _carried(trial: FrozenTrial) -> dict[str, Any]:
    """What a sampler has noted on a point, which the next try has, too: CMA-ES and the NSGAs its generation."""
    if "overrides" not in trial.user_attrs:  # killed before the whole point was chosen
        return {}
    return {k: v for k, v in trial.system_attrs.items() if k.endswith(":generation") or k == "x_for_tell"}


def _has_yielded(trial: FrozenTrial) -> bool:
    own = trial.user_attrs.get(FAILURE_ATTR) == "interrupted"
    return own and trial.user_attrs.get(STOP_ATTR) == YIELD


def _attempt(trial: FrozenTrial) -> int:
    """Which try the next one would be, counted from 1 after the first."""
    return int(trial.user_attrs.get(ATTEMPT_ATTR, 0)) + 1


def shown(url: str) -> str:
    """A storage URL for the terminal: without a password, and a journal file as a path from here."""
    path = location.file_of(url) if url.startswith("journal:") else None
    if path is None:
        return masked(url)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
