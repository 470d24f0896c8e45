"""A log file for each job of one process, while Hydra's logging stays as it is.

Hydra sets logging up for the whole process, which fits one job at a time. Here a context variable says on which job's
behalf the current code runs, and handlers that are installed once pass its records to that job's files.
"""

from __future__ import annotations

import copy
import logging
import logging.config
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from omegaconf import DictConfig, OmegaConf

_handlers: ContextVar[tuple[logging.Handler, ...] | None] = ContextVar("job_log_handlers", default=None)

PACKAGE = "rnn_sweep"


class JobLog:
    """The files that ``hydra.job_logging`` gives one job; they are created with the first record.

    Args:
        job_logging: the job's own, resolved or resolvable.
    """

    def __init__(self, job_logging: DictConfig | None) -> None:
        tree: Any = OmegaConf.to_container(job_logging, resolve=True) if job_logging is not None else {}
        root = tree.get("root") or {}
        self.handlers = tuple(self._files({**tree, "version": 1}, root.get("handlers") or []))
        for handler in self.handlers:
            handler.setLevel(max(handler.level, logging.getLevelName(root.get("level") or "NOTSET")))

    @staticmethod
    def _files(tree: dict[str, Any], names: list[str]) -> Iterator[logging.Handler]:
        known = logging.config.DictConfigurator(copy.deepcopy(tree))
        formatters = tree.get("formatters") or {}
        known.config["formatters"] = {name: known.configure_formatter(form) for name, form in formatters.items()}
        for name in names:
            handler = tree["handlers"][name]
            if "filename" in handler:
                yield known.configure_handler({**handler, "delay": True})

    @contextmanager
    def open(self) -> Iterator[None]:
        """What is logged within the context, in this thread, goes to the job's files."""
        token = _handlers.set(self.handlers)
        try:
            yield
        finally:
            _handlers.reset(token)

    def close(self) -> None:
        """Close the files."""
        for handler in self.handlers:
            handler.close()


class _Router(logging.Handler):
    """Passes records on to the files of the job on whose behalf they were made.

    With ``forward`` those of no job, and warnings of any, go to the root logger's handlers as well.
    """

    def __init__(self, forward: bool) -> None:
        super().__init__()
        self._forward = forward

    def emit(self, record: logging.LogRecord) -> None:
        """Handle a record."""
        files = _handlers.get()
        for handler in files or ():
            if record.levelno >= handler.level:
                handler.handle(record)
        root = logging.getLogger()
        if self._forward and (files is None or record.levelno >= logging.WARNING) and root.isEnabledFor(record.levelno):
            for handler in root.handlers:
                if not isinstance(handler, _Router) and record.levelno >= handler.level:
                    handler.handle(record)


@contextmanager
def routed() -> Iterator[None]:
    """Within the context, in all threads, jobs log to their own files and not to the terminal."""
    root, ours = logging.getLogger(), logging.getLogger(PACKAGE)
    before = ours.level, ours.propagate
    quiet, forwarding = _Router(forward=False), _Router(forward=True)
    root.addHandler(quiet)
    ours.addHandler(forwarding)
    # A sweep may let only warnings through to the terminal; a job's file gets what the job says.
    ours.setLevel(min(logging.INFO, root.level))
    ours.propagate = False
    try:
        yield
    finally:
        root.removeHandler(quiet)
        ours.removeHandler(forwarding)
        ours.setLevel(before[0])
        ours.propagate = before[1]
