"""Finding a study by its name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rnn_sweep.errors import UserError, near
from rnn_sweep.redaction import masked
from rnn_sweep.storage import open_storage, quiet
from rnn_sweep.storage.location import is_new_file
from rnn_sweep.sweep import study as studies
from rnn_sweep.sweep.settings import Settings

if TYPE_CHECKING:
    from optuna import Study


def names() -> list[str]:
    """Studies that lie in ``studies/`` of the working folder, the newest first."""
    files = list(Path(studies.FOLDER).glob("*.journal"))
    return [file.stem for file in sorted(files, key=lambda file: file.stat().st_mtime, reverse=True)]


def folder_name(study: str) -> str:
    """A folder for what is made of a study, whatever another program has called it."""
    plain = study.replace("/", "-").replace("\\", "-").encode()[:200].decode(errors="ignore")
    return plain if plain.strip(". ") else f"study-{len(plain)}"


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
    if is_new_file(url):
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
