"""Files that studies are in: what the URLs of journals and sqlite databases name."""

from __future__ import annotations

from pathlib import Path


def file_of(url: str) -> Path | None:
    """The file of ``journal://FILE`` or ``sqlite:///FILE``; None for a server, and for a database in memory."""
    name = _name(url)
    return Path(name) if name else None


def is_new_file(url: str) -> bool:
    """Whether opening ``url`` would create a file."""
    path = file_of(url)
    return path is not None and not path.exists()


def absolute(url: str, folder: Path) -> str:
    """The URL that names the same file from any working folder, where it names one relative to ``folder``."""
    name = _name(url)
    start, _, rest = url.partition("://")
    return f"{start}://{rest.replace(name, str(folder.resolve() / name), 1)}" if name else url


def lock_file(url: str) -> str | None:
    """The lock of a study in a file, which whoever counts, asks or creates its tables holds; None without a file."""
    path = file_of(url)
    return f"{path}.ask.lock" if path else None


def _name(url: str) -> str:
    kind, _, place = url.partition("://")
    if kind.partition("+")[0] == "sqlite":  # the third slash ends the empty host
        place = place[1:].partition("?")[0] if place.startswith("/") else ""
    elif kind != "journal":
        return ""
    return "" if place.startswith(":memory:") else place
