"""A run's record, opened when it is first needed: what is refused before leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnn_sweep.tracking import Run as Record

Open = Callable[[Mapping[str, str]], "Record"]
"""Opens the record with the tags that are known by then."""


class Recording:
    """The record of one run.

    Args:
        begin: called once.
    """

    def __init__(self, begin: Open) -> None:
        self._begin = begin
        self._record: Record | None = None
        self.tags: dict[str, str] = {}
        """Those that the function has set."""

    @property
    def begun(self) -> bool:
        """Whether there is a record."""
        return self._record is not None

    @property
    def record(self) -> Record:
        """The record. Raises :class:`UserError` where the store cannot be used."""
        if self._record is None:
            self._record = self._begin(dict(self.tags))
        return self._record

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set tags of the record."""
        self.tags.update(tags)
        if self._record is not None:
            self._record.add({}, tags, ())
