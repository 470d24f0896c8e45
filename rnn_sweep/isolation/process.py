"""What belongs to the process itself, put back after each job: working folder, environment variables, streams."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from rnn_sweep.isolation.kinds import Restore


def folder() -> Restore:
    """Keep the working folder."""
    before = os.getcwd()

    def restore(failed: bool) -> str:
        try:
            now = os.getcwd()
        except FileNotFoundError:
            now = "one that is gone"
        if now == before:
            return ""
        os.chdir(before)
        return f"another working folder, {now}"

    return restore


_OF_PACKAGES = frozenset({"TORCHINDUCTOR_CACHE_DIR", "_MLFLOW_TELEMETRY_SESSION_ID"})
"""Variables that packages set for themselves when they are first used: not worth a word."""


def environment() -> Restore:
    """Keep the environment variables."""
    before = dict(os.environ)

    def restore(failed: bool) -> str:
        now = dict(os.environ)
        changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
        for name in changed:
            if name in before:
                os.environ[name] = before[name]
            else:
                del os.environ[name]
        told = [name for name in changed if name not in _OF_PACKAGES]
        return f"environment variables {', '.join(told)}" if told else ""

    return restore


def streams() -> Restore:
    """Keep ``sys.stdin``, ``sys.stdout`` and ``sys.stderr``."""
    before = {name: getattr(sys, name) for name in ("stdin", "stdout", "stderr")}

    def restore(failed: bool) -> str:
        changed = [name for name, stream in before.items() if getattr(sys, name) is not stream]
        for name in changed:
            setattr(sys, name, before[name])
        return f"another {' and '.join(f'sys.{name}' for name in changed)}" if changed else ""

    return restore


_SIGNALS = [
    getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM") if hasattr(signal, n)
]


def signals() -> Restore:
    """Keep the signal handlers, where this is the main thread; an alarm that a job has set does not reach the next."""
    if threading.current_thread() is not threading.main_thread():
        return _nothing
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def restore(failed: bool) -> str:
        changed = [number for number, handler in before.items() if signal.getsignal(number) != handler]
        for number in changed:
            if before[number] is not None:  # set by something else than Python
                signal.signal(number, before[number])
        found = [f"handlers of {', '.join(number.name for number in changed)}"] if changed else []
        if hasattr(signal, "alarm") and signal.alarm(0):
            found.append("an alarm")
        return ", and ".join(found)

    return restore


def start_method() -> Restore:
    """Keep multiprocessing's start method, which may be set once: the next job may set it, too."""
    before = multiprocessing.get_start_method(allow_none=True)

    def restore(failed: bool) -> str:
        now = multiprocessing.get_start_method(allow_none=True)
        if before == now:
            return ""
        multiprocessing.set_start_method(before, force=True)
        usual = before is None and now == multiprocessing.get_all_start_methods()[0]  # set by who starts a process
        return "" if usual else f"the start method {now} of multiprocessing"

    return restore


_SERVANTS = ("resource_tracker", "forkserver", "loky")
"""Processes that multiprocessing and joblib keep for later use, and end by themselves; words of their commands."""


def processes() -> Restore:
    """Name the processes that a job has started and that still run; they end with this process at the latest."""
    before = _children()

    def restore(failed: bool) -> str:
        left = [f"{name} ({pid})" for pid, name in _children().items() if pid not in before]
        return f"processes that still run: {', '.join(left)}; they may disturb the next jobs" if left else ""

    return restore


def _children() -> Mapping[int, str]:
    """The processes that this one has started, by their ids, with what they are called."""
    of_python = {each.pid or 0: each for each in multiprocessing.active_children()}
    found = {pid: repr(each.name) for pid, each in of_python.items() if not _serves(type(each).__module__)}
    for task in Path("/proc/self/task").glob("*/children"):  # where there is one
        for pid in set(map(int, task.read_text().split())) - of_python.keys():
            command = _command(Path("/proc", str(pid)))
            if command and not _serves(command):
                found[pid] = repr(command)
    return found


def _command(process: Path) -> str:
    """The beginning of a process's command line; nothing where it has ended."""
    try:
        name, _, state = (process / "stat").read_text().partition("(")[2].rpartition(")")
        command = (process / "cmdline").read_text(errors="replace").replace("\0", " ").strip()
    except OSError:
        return ""
    return "" if state.split()[0] in "ZX" else (command or name)[:80]


def _serves(words: str) -> bool:
    return any(word in words for word in _SERVANTS)


def _nothing(failed: bool) -> str:
    return ""
