"""What Optuna's public classes do not give away: a study's storage, and the ids that the storage knows it by.

The one place that asks for these private members; ``tests/test_private_members.py`` fails where they change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.storages import BaseStorage
    from optuna.study._frozen import FrozenStudy
    from optuna.trial import FrozenTrial


def storage_of(study: Study) -> BaseStorage:
    """The storage that holds the study."""
    return study._storage


def id_of_study(study: Study | FrozenStudy) -> int:
    """The study's id in its storage."""
    return study._study_id


def id_of_trial(trial: Trial | FrozenTrial) -> int:
    """The trial's id in its storage, which is not its number."""
    return trial._trial_id
