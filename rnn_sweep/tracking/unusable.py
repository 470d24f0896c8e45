"""The message for a tracking store that does not work."""

from __future__ import annotations

from rnn_sweep.errors import UserError
from rnn_sweep.redaction import first_line, mask


def unusable(uri: str, error: BaseException) -> UserError:
    """The mistake ``tracking.uri``, with the driver's reason and without credentials."""
    return UserError(f"tracking.uri must be a store that can be written: got '{mask(uri)}' ({first_line(error, uri)})")
