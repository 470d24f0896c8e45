"""Keys of the terminal as they are pressed, and the line in which ``watch`` is given orders by them."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rnn_sweep.commands import steer
from rnn_sweep.errors import UserError

if TYPE_CHECKING:
    from optuna import Study


class Keys:
    """Reads keys without waiting for Enter within its context; none where standard input is no terminal."""

    def __init__(self) -> None:
        self._before: list[Any] | None = None

    def __enter__(self) -> Keys:
        try:
            import termios
            import tty
        except ImportError:  # Windows
            return self
        if sys.stdin is not None and sys.stdin.isatty():
            self._before = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)  # Ctrl-C stays a signal
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            import termios

            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    @property
    def there(self) -> bool:
        """Whether any can be pressed."""
        return self._before is not None

    def read(self, seconds: float) -> str:
        """What is pressed first within ``seconds``; empty where nothing is."""
        if not self.there:
            time.sleep(seconds)
            return ""
        if not select.select([sys.stdin], [], [], seconds)[0]:
            return ""
        pressed = os.read(sys.stdin.fileno(), 1024)
        if not pressed:  # the terminal has gone
            self._before = None
        return pressed.decode(errors="ignore")


@dataclass(frozen=True)
class _Command:
    """What a key does."""

    name: str
    asks: str
    """For what it needs to know; empty where it needs nothing."""
    give: Callable[[Study, str], str]


_COMMANDS: Mapping[str, _Command] = {
    "p": _Command("pause", "", lambda study, _: steer.pause(study)),
    "c": _Command("continue", "", lambda study, _: steer.go_on(study)),
    "s": _Command("stop", "stop trial", lambda study, text: steer.stop(study, _number("stop", text))),
    "a": _Command("add", "add a point, such as x=0.1 y=2", lambda study, text: steer.add(study, text.split())),
    "e": _Command("extend", "trials to add", lambda study, text: steer.extend(study, _number("extend", text))),
    "w": _Command(
        "workers", "trials at a time", lambda study, text: steer.set_workers(study, _number("workers", text))
    ),
}
HELP = "keys: " + ", ".join(f"{key} {command.name}" for key, command in _COMMANDS.items()) + ", Ctrl-C leaves"
_ENTER, _RUBOUT, _ESCAPE = "\r\n", "\x7f\x08", "\x1b"


class Prompt:
    """Turns keys into orders to a study."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._command: _Command | None = None
        self._text = ""
        self._answer = ""

    def press(self, keys: str) -> None:
        """Take keys; an order that is complete is given."""
        if keys.startswith(_ESCAPE):  # alone, or that of an arrow
            self._command, self._answer = None, ""
            return
        for key in keys:
            if self._command is None:
                self._begin(key)
            elif key in _ENTER:
                self._give(self._command)
            elif key in _RUBOUT:
                self._text = self._text[:-1]
            elif key.isprintable():
                self._text += key

    def lines(self) -> list[str]:
        """What to show: the answer to the latest order, and what is asked or can be pressed."""
        asked = HELP if self._command is None else f"{self._command.asks}: {self._text}▏ (Enter, or Esc)"
        return [*([self._answer] if self._answer else []), asked]

    def _begin(self, key: str) -> None:
        command = _COMMANDS.get(key)
        self._text = ""
        if command is not None and command.asks:
            self._command, self._answer = command, ""
        elif command is not None:
            self._give(command)

    def _give(self, command: _Command) -> None:
        self._command = None
        try:
            self._answer = command.give(self._study, self._text)
        except UserError as error:
            self._answer = f"error: {error}"


def _number(command: str, text: str) -> int:
    with contextlib.suppress(ValueError):
        return int(text)
    raise UserError(f"{command} takes a number, got {text!r}")
