"""Records: what a run hands over to be recorded, which of them go into the store at once, and which try again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnn_sweep.models import Network

METRICS_PER_BATCH = 1000
"""MLflow's limit of metrics in one ``log_batch``."""
KINDS = (
    *("create", "reopen", "params", "texts", "dataset", "view", "epoch", "final", "curves", "model", "module", "file"),
    *("summary", "close", "leave", "abandon"),
)
"""Of records: the methods of :class:`rnn_sweep.tracking.writer.Delivery` that bring them."""
_HOPELESS = frozenset(
    {
        *("RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "INVALID_PARAMETER_VALUE", "INVALID_STATE"),
        *("PERMISSION_DENIED", "FEATURE_DISABLED", "ENDPOINT_NOT_FOUND"),
    }
)
"""Codes with which a store refuses a record for good; all else may pass."""


@dataclass(frozen=True)
class Record:
    """One thing to be recorded.

    Args:
        kind: one of :data:`KINDS`.
        content: its arguments, in JSON types.
        model: of the kind ``model``: the network, while this process has it.
    """

    kind: str
    content: Mapping[str, Any]
    model: Network | None = None


def leading(records: Iterable[Record]) -> list[Record]:
    """The first record, or the first epochs: thousands of them may have waited for a store that was away."""
    found: list[Record] = []
    size = 0
    for record in records:
        size += len(record.content.get("metrics", ()))
        if found and (found[0].kind != "epoch" or record.kind != "epoch" or size > METRICS_PER_BATCH):
            break
        found.append(record)
    return found


def may_pass(error: Exception) -> bool:
    """Whether a record that met ``error`` should be brought again later."""
    from mlflow.exceptions import MlflowException

    from rnn_sweep.errors import UserError

    if isinstance(error, MlflowException):
        return error.error_code not in _HOPELESS
    if isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError):
        return False
    return isinstance(error, OSError | UserError)  # the HTTP client's own errors; a store that cannot be opened
