"""Finding a study by its name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rnn_sweep.errors import UserError, near
from rnn_sweep.storage import masked, open_storage, quiet
from rnn_sweep.sweep import study as studies
from rnn_sweep.sweep.settings import Settings

if TYPE_CHECKING:
    from optuna import Study


def names(folder: Path | None = None) -> list[str]:
    """Studies that lie in ``studies/`` of ``folder`` (the working folder when None), the newest first."""
    files = list((folder or Path.cwd()).joinpath(studies.FOLDER).glob("*.journal"))
    return [file.stem for file in sorted(files, key=lambda file: file.stat().st_mtime, reverse=True)]


def find(name: str, storage: str | None) -> tuple[Study, str]:
    """A study and the URL of its storage.

    Args:
        name: the study's name.
        storage: where it is, as ``hydra.sweeper.storage``; None is ``studies/<name>.journal``.

    Raises:
        UserError: there is no such storage or study; the message lists the nearest. Nothing was created.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = studies.storage_url(Settings(storage=storage), name, Path.cwd())
    if studies.is_new_file(url):
        if storage is not None:
            raise UserError(f"--storage: there is no file behind {masked(url)}")
        known = names()
        hint = near(name, known) if known else f"no studies in '{studies.FOLDER}/' here; --storage names another place"
        raise UserError(f"there is no study {name!r}: {hint}")
    opened = open_storage(url)
    with quiet():
        if studies.find(opened, name) is None:
            known = [summary.study_name for summary in opened.get_all_studies()]
            raise UserError(f"there is no study {name!r} in {studies.shown(url)}: {near(name, known)}")
        return optuna.load_study(study_name=name, storage=opened), url
