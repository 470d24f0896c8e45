"""``rnn-sweep sync``: deliver what runs could not, because their store did not answer or their process was killed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rnn_sweep.config import TrackingConfig
from rnn_sweep.errors import Damaged, UserError
from rnn_sweep.files import OUTBOX_FILE, claim
from rnn_sweep.redaction import first_line
from rnn_sweep.tracking.outbox import read
from rnn_sweep.tracking.records import Record, leading, may_pass
from rnn_sweep.tracking.writer import Delivery


@dataclass(frozen=True)
class Synced:
    """What became of one outbox."""

    path: Path
    run_id: str | None
    note: str = ""
    """Why it is still there; empty when all was delivered."""


def sync(root: Path, uri: str | None = None) -> Iterator[Synced]:
    """Deliver every outbox below a folder, but for those of runs that are alive; close the runs that were killed.

    Args:
        root: searched with all that is below it.
        uri: the store; None is the one that the run was to be recorded in. Needed where that has a password, which is
            not written down.

    Raises:
        UserError: there is no such folder.
    """
    if not root.is_dir():
        raise UserError(f"sync: there is no folder {str(root)!r}")
    for path in sorted(root.rglob(OUTBOX_FILE)):
        with path.open("r+", encoding="utf-8", errors="replace") as file:
            try:
                yield _sync(path, file, uri) if claim(file) else Synced(path, None, "its run is alive")
            except Damaged as error:  # nothing of it was delivered: its records are in order
                yield Synced(path, None, str(error))


def _sync(path: Path, file: IO[str], uri: str | None) -> Synced:
    lines = list(read(path, file))
    if not lines:
        path.unlink()
        return Synced(path, None)
    head, *records = lines
    run_id = next((line["run_id"] for line in reversed(lines) if line.get("run_id")), None)
    config = TrackingConfig(uri=uri or str(head["uri"]), experiment=str(head["experiment"]))
    delivery = Delivery(config, run_id, path.parent, resumed=run_id is not None, late=True)
    waiting = [Record(line["kind"], line["content"]) for line in records if "kind" in line]
    waiting = [record for record in waiting if record.kind != "create" or run_id is None]
    while waiting:
        first = leading(waiting)
        note = _bring(delivery, *first)
        if note:
            return Synced(path, delivery.run_id, note)
        del waiting[: len(first)]
        if first[0].kind == "create":
            file.seek(0, 2)
            file.write(f'{{"run_id": "{delivery.run_id}"}}\n')
            file.flush()
    left = not head.get("shared") and not any(line.get("kind") == "close" for line in records)
    if left and (note := _bring(delivery, Record("abandon", {}))):
        return Synced(path, delivery.run_id, note)
    path.unlink()
    return Synced(path, delivery.run_id)


def _bring(delivery: Delivery, *records: Record) -> str:
    """Deliver records; why they have to be tried again, where they have to. One that is refused is passed over."""
    try:
        delivery.bring(*records)
    except Exception as error:
        if may_pass(error):
            return first_line(error, delivery.config.uri)
        if len(records) > 1:  # one of them is refused
            return next((note for record in records if (note := _bring(delivery, record))), "")
    return ""
