"""The outbox, a write-ahead queue: records go to disk first, then into the store by one thread that retries."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from rnn_sweep.errors import damaged
from rnn_sweep.files import OUTBOX_FILE, claim
from rnn_sweep.redaction import first_line, mask
from rnn_sweep.tracking.records import KINDS, Record, leading, may_pass
from rnn_sweep.tracking.store import quiet
from rnn_sweep.tracking.writer import Delivery

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
"""Seconds between two tries to reach a store that does not answer."""

_log = logging.getLogger(__name__)


class Outbox:
    """One run's records, in order.

    Args:
        delivery: what brings them into the store.
        folder: where they lie until then; None keeps them in memory alone.
        shared: whether others may be at work on the run, so that this process's end is not the run's.
    """

    def __init__(self, delivery: Delivery, folder: Path | None, *, shared: bool = False) -> None:
        self.delivery = delivery
        self.pending: deque[Record] = deque()
        self.path = None if folder is None else folder / OUTBOX_FILE
        self._singly = False
        """Whether the store has refused several epochs at once: it is then seen which of them it takes."""
        self._file = None if self.path is None else _open(self.path)
        self._complete = True
        """Whether the file has every record; only then another line may follow."""
        config = delivery.config
        head = {"uri": mask(config.uri), "experiment": config.experiment, "run_id": delivery.run_id}
        self._write(head | ({"shared": True} if shared else {}))

    def put(self, record: Record) -> None:
        """Hand over a record; returns at once."""
        self._write({"kind": record.kind, "content": record.content})
        _courier.take(self, record)

    def flush(self, seconds: float) -> bool:
        """Wait until the store has all records, unless it is known not to answer; True when it has them."""
        return _courier.wait(self, seconds)

    def bring_next(self) -> None:
        """Deliver the oldest record, and the epochs that follow where it is one; called by the courier alone.

        Raises:
            Exception: it has to be brought again later.
        """
        records, before = self._next(), self.delivery.run_id
        try:
            self.delivery.bring(*records)
        except Exception as error:
            if may_pass(error):
                raise
            if len(records) > 1:
                self._singly = True
                return
            reason = first_line(error, self.delivery.config.uri)
            _log.error("run %s: %s not recorded: %s", self.delivery.run_id, records[0].kind, reason)
        if self.delivery.run_id != before:
            self._write({"run_id": self.delivery.run_id})
        if records[-1].kind in ("close", "leave"):
            self._remove()  # before whoever waits for the last record hears of it
        for _ in records:
            self.pending.popleft()

    def _next(self) -> list[Record]:
        """What is brought at once."""
        if self._singly:
            return [self.pending[0]]
        return leading(self.pending[i] for i in range(len(self.pending)))  # by index: others append at the same time

    def _write(self, line: dict[str, object]) -> None:
        if self._file is None or not self._complete:
            return
        try:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        except OSError as error:  # the disk is full: memory is what is left, and the file stays open as it is claimed
            _log.warning("%s cannot be written (%s)", self.path, error.strerror)
            self._complete = False

    def _remove(self) -> None:
        if self._file is not None and self.path is not None:
            with suppress(OSError):  # of a full disk: what was not written is of no use any more
                self._file.close()
            self.path.unlink(missing_ok=True)


def _open(path: Path) -> IO[str] | None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a", encoding="utf-8")
    except OSError as error:
        _log.warning("%s cannot be written (%s)", path, error.strerror)
        return None
    if not claim(file):  # of another process in the same folder: memory is what is left
        file.close()
        return None
    with suppress(OSError):  # no file that could be cut: a device
        file.truncate(0)
    return file


def read(path: Path, file: IO[str]) -> Iterator[dict[str, Any]]:
    """The lines of an outbox; one that was cut off when its writer was killed is left out.

    Raises:
        Damaged: a line is not what an outbox holds.
    """
    for number, text in enumerate(file, 1):
        if not text.endswith("\n"):
            return
        try:
            line = json.loads(text)
            check_line(number, line)
        except (ValueError, KeyError, TypeError) as error:
            raise damaged(path, f"line {number} is no record ({type(error).__name__}: {error})") from None
        yield line


def check_line(number: int, line: Mapping[str, Any]) -> None:
    """Check a line: the first says where the run is recorded, others hold a record or the id that the run has got.

    Raises:
        KeyError, TypeError, ValueError: it is none of them.
    """
    if number == 1:
        wrong = [key for key in ("uri", "experiment") if not isinstance(line[key], str)]
    elif "kind" in line:
        if line["kind"] not in KINDS:
            raise ValueError(f"kind {line['kind']!r}")
        wrong = [] if isinstance(line["content"], Mapping) else ["content"]
    else:
        wrong = [] if isinstance(line["run_id"], str) else ["run_id"]
    if wrong:
        raise TypeError(f"{wrong[0]} is {line[wrong[0]]!r}")


class _Courier:
    """The thread that brings all runs' records of this process."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Outbox] = deque()
        self._thread: threading.Thread | None = None
        self.failing = False
        """Whether the latest try failed."""

    def take(self, outbox: Outbox, record: Record) -> None:
        with self._changed:
            outbox.pending.append(record)
            if outbox not in self._waiting:
                self._waiting.append(outbox)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="rnn-sweep-records", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def wait(self, outbox: Outbox, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        with self._changed:
            while outbox.pending and not self.failing:
                if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    break
            return not outbox.pending

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
            with quiet():
                self._deliver()

    def _deliver(self) -> None:
        """Bring what waits, until nothing does."""
        pause = FIRST_PAUSE
        while self._waiting:
            outbox = self._waiting[0]
            try:
                outbox.bring_next()
            except Exception as error:
                self._note(outbox, error)
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                self._note(outbox, None)
                pause = FIRST_PAUSE

    def _note(self, outbox: Outbox, error: Exception | None) -> None:
        if error is not None and not self.failing:
            reason = first_line(error, outbox.delivery.config.uri)
            where = outbox.path or "memory"
            _log.warning("the tracking store does not answer (%s); records wait for it in %s", reason, where)
            if "malformed" in reason:  # sqlite's word for a damaged page
                _log.warning("`rnn-sweep repair FILE` saves what can be read of the store's file, and keeps a copy")
            _log.warning("`rnn-sweep sync` delivers what is left when this program has ended")
        elif error is None and self.failing:
            _log.info("the tracking store answers again")
        with self._changed:
            self.failing = error is not None
            if error is not None:
                self._waiting.rotate(-1)  # another run's store may answer
            elif not outbox.pending:
                self._waiting.remove(outbox)
            self._changed.notify_all()


_courier = _Courier()


def failing() -> bool:
    """Whether the store did not answer just now."""
    return _courier.failing
