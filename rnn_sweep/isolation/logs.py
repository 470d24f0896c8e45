"""Loggers: their levels, handlers and filters."""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from rnn_sweep.isolation.kinds import Restore

_OTHERS = frozenset({"mlflow", "alembic", "sqlalchemy", "urllib3"})
"""Loggers whose level is switched by :func:`rnn_sweep.tracking.store.quiet`, in other threads as well."""


@dataclass(frozen=True)
class _Logger:
    level: int
    propagate: bool
    disabled: bool
    handlers: tuple[logging.Handler, ...]
    filters: tuple[Any, ...]

    @classmethod
    def of(cls, logger: logging.Logger) -> _Logger:
        level = logging.NOTSET if logger.name in _OTHERS else logger.level
        return cls(level, logger.propagate, logger.disabled, tuple(logger.handlers), tuple(logger.filters))

    def put_back(self, logger: logging.Logger) -> None:
        if logger.name not in _OTHERS:
            logger.setLevel(self.level)
        logger.propagate, logger.disabled = self.propagate, self.disabled
        for handler in [each for each in logger.handlers if each not in self.handlers]:
            logger.removeHandler(handler)
            handler.close()
        logger.handlers[:], logger.filters[:] = self.handlers, self.filters


_CONSOLE = (logging.NullHandler, logging.StreamHandler)
"""Handlers that packages give to loggers of theirs when they are imported, whatever these are called: not worth a word.
"""

_NEW = _Logger(logging.NOTSET, True, False, (), ())


def loggers() -> Restore:
    """Keep every logger's level, handlers and filters, and whether it is disabled; new handlers are closed."""
    before = {logger.name: _Logger.of(logger) for logger in _every()}
    disabled, modules = logging.root.manager.disable, set(sys.modules)

    def restore(failed: bool) -> str:
        imported, changed = sys.modules.keys() - modules, []
        for logger in _every():
            was = before.get(logger.name, _NEW)
            now = _Logger.of(logger)
            if now == was or _belongs(logger.name, imported):
                continue
            was.put_back(logger)
            if logger.name in before or any(type(handler) not in _CONSOLE for handler in now.handlers):
                changed.append(logger.name)
        if logging.root.manager.disable != disabled:
            logging.disable(disabled)
            changed.append("all")
        return f"levels, handlers or filters of loggers: {', '.join(changed)}" if changed else ""

    return restore


def _every() -> list[logging.Logger]:
    known = logging.root.manager.loggerDict.copy().values()
    return [logging.root, *(each for each in known if isinstance(each, logging.Logger))]


def _belongs(name: str, modules: Collection[str]) -> bool:
    """Whether a logger is one of a package that is among ``modules``."""
    parts = name.split(".")
    return any(".".join(parts[: n + 1]) in modules for n in range(len(parts)))
