"""Find and load the native engine's library: the best variant that this processor runs.

``RNN_SWEEP_NATIVE`` names another variant (``x86-64-v3``) or the path of a library file, for tests and comparisons.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from rnn_sweep.engines.native.build import FOLDER, LOG, RECORD, SOURCE, Record, source_digest
from rnn_sweep.errors import UserError, near

log = logging.getLogger(__name__)

ABI = 1
"""What ``rnn_sweep_abi()`` of a fitting library returns: counts the changes of the functions that it exports."""
VARIABLE = "RNN_SWEEP_NATIVE"

_V3 = frozenset({"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"})
_V4 = _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
NEEDS = {
    "x86-64-v4-bf16": _V4 | {"avx512_bf16"},
    "x86-64-v4": _V4,
    "x86-64-v3": _V3,
    "aarch64": frozenset({"asimd"}),
}
"""The flags of a processor that runs a variant; best variant first."""


class NativeUnavailable(Exception):  # noqa: N818 - what is the case, not a mistake
    """There is no native engine here. The message is one sentence that says why."""


@dataclass(frozen=True)
class Library:
    """A library that is loaded and fits."""

    cdll: ctypes.CDLL
    target: str
    """The variant, such as ``x86-64-v4-bf16``."""
    path: Path
    bf16: bool
    """Whether it multiplies in bfloat16."""


class _BrokenFileError(Exception):
    """A file that is no library of ours."""


_LOCK = threading.Lock()


def load() -> Library:
    """The library of this process: found at the first call, the same ever after.

    Raises:
        NativeUnavailable: nothing can be loaded.
        UserError: ``RNN_SWEEP_NATIVE`` names something that cannot.
    """
    with _LOCK:
        found = _found()
    if isinstance(found, str):
        raise NativeUnavailable(found)
    return found


@functools.cache
def _found() -> Library | str:
    flags = processor_flags()
    if wish := os.environ.get(VARIABLE):
        return wanted(wish, FOLDER, flags)
    try:
        return best(FOLDER, flags)
    except NativeUnavailable as error:
        return str(error)


def processor_flags() -> frozenset[str]:
    """What this processor and its operating system can do, in the words of Linux; nothing where that is not known."""
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return frozenset({"asimd"})
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    flags = (line.partition(":")[2] for line in lines if line.startswith(("flags", "Features")))
    return frozenset(next(flags, "").split())


def best(folder: Path, flags: frozenset[str]) -> Library:
    """Load the best variant of a folder that a processor with these flags runs, passing over broken files.

    Raises:
        NativeUnavailable: there is none.
    """
    record = _record(folder)
    fitting = [name for name, needs in NEEDS.items() if name in record.digests and needs <= flags]
    if not fitting:
        lacking = min((NEEDS[name] - flags for name in record.digests if name in NEEDS), key=len, default=frozenset())
        raise NativeUnavailable(f"this processor lacks {', '.join(sorted(lacking))}, which the native engine needs")
    broken = []
    for name in fitting:
        try:
            found = _open(folder / f"{name}.so", name, record.digests[name])
        except _BrokenFileError as error:
            broken.append(str(error))
            continue
        if broken:
            log.warning("the native engine is slower than it could be: %s; reinstall the package", "; ".join(broken))
        return found
    raise NativeUnavailable(f"the native engine cannot be loaded: {'; '.join(broken)}; reinstall the package")


def _record(folder: Path) -> Record:
    """What was built into a folder, from the very source that is there."""
    try:
        record = Record.read(folder)
    except (OSError, ValueError) as error:
        words = f"'{folder / RECORD}' is missing" if isinstance(error, FileNotFoundError) else str(error)
        raise NativeUnavailable(f"the native engine is not there: {words}; reinstall the package") from error
    if record.failure:
        words = f" (its words are in '{folder / LOG}')" if (folder / LOG).exists() else ""
        raise NativeUnavailable(
            f"the native engine was not built when the package was installed: {record.failure}{words}"
        )
    # The source changes under an editable installation.
    if folder == FOLDER and SOURCE.is_dir() and source_digest(SOURCE) != record.source:
        raise NativeUnavailable("the native engine was built from an older source; reinstall the package")
    return record


def compiler(library: Library) -> str:
    """The compiler that made a library, as it calls itself."""
    try:
        return Record.read(library.path.parent).compilers[library.target]
    except (OSError, ValueError, KeyError):
        return "a compiler that is not known"  # a file from elsewhere


def wanted(wish: str, folder: Path, flags: frozenset[str]) -> Library:
    """Load what ``RNN_SWEEP_NATIVE`` names: a variant of the folder, or a file.

    Raises:
        UserError: it cannot be loaded, or this processor would not run it.
    """
    is_file = os.sep in wish
    if not is_file and wish not in NEEDS:
        raise UserError(f"{VARIABLE} must name a variant or the path of a library, got {wish!r}; {near(wish, NEEDS)}")
    path = Path(wish) if is_file else folder / f"{wish}.so"
    if not is_file and (lacking := NEEDS[wish] - flags):
        raise UserError(f"{VARIABLE}={wish}: this processor lacks {', '.join(sorted(lacking))}")
    try:
        found = _open(path, path.stem if is_file else wish, None if is_file else _record(folder).digests.get(wish, ""))
    except (_BrokenFileError, NativeUnavailable) as error:
        raise UserError(f"{VARIABLE}={wish}: {error}") from error
    if found.bf16 and "avx512_bf16" not in flags:
        raise UserError(f"{VARIABLE}={wish}: this processor lacks avx512_bf16")
    return found


def _open(path: Path, target: str, digest: str | None) -> Library:
    """Load a file. One that is cut short would kill the process instead of failing, so it is compared with a digest."""
    try:
        if digest is not None and hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise _BrokenFileError(f"'{path}' is not the file that was built")
        cdll = ctypes.CDLL(str(path))
        abi, bf16 = int(cdll.rnn_sweep_abi()), bool(cdll.rnn_sweep_bf16())
    except OSError as error:
        raise _BrokenFileError(str(error) if str(path) in str(error) else f"'{path}': {error}") from error
    except AttributeError as error:
        raise _BrokenFileError(f"'{path}' is no library of rnn-sweep's native engine") from error
    if abi != ABI:
        raise _BrokenFileError(f"'{path}' has version {abi} of the interface, not {ABI}")
    return Library(cdll, target, path, bf16)
