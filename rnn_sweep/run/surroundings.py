"""What the bridge makes a run from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnn_sweep.run.recording import Recording
    from rnn_sweep.run.seat import Seat
    from rnn_sweep.run.segment import Segment
    from rnn_sweep.run.settings import Settings
    from rnn_sweep.trial import Reporter


@dataclass(frozen=True)
class Surroundings:
    """What a run is made from, and where it writes."""

    settings: Settings
    folder: Path
    recording: Recording
    reporter: Reporter
    seat: Seat
    notes: Mapping[str, Any]
    """Plain values kept in every checkpoint for whoever goes on with the run."""
    resume: Mapping[str, Any] | None
    """The checkpoint to go on from."""
    way_on: Sequence[str]
    """The command that goes on with the run once it was interrupted; empty where something else does."""
    segment: Segment | None = None
    """The part of the run that is trained with these settings; None where they hold for the whole of it."""
