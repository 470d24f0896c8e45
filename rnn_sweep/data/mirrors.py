"""Downloads from the mirrors that torchvision knows, checked by the MD5 of the archives that it lists."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import urllib.request
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from rnn_sweep.data.store import IdxFile, SourceError, verified

_TIMEOUT = 3.0
"""Seconds without an answer after which a mirror counts as unreachable."""


def download(dataset: Any, files: Sequence[IdxFile]) -> Mapping[str, bytes]:
    """Download ``files`` from the first of the mirrors that has them all.

    Args:
        dataset: a class of ``torchvision.datasets`` with ``mirrors`` and ``resources``.
        files: what is wanted, the archives' names without ``.gz``.

    Raises:
        SourceError: no mirror answers in time with the right bytes.
    """
    archives = dict(dataset.resources)
    reasons = []
    for mirror in dataset.mirrors:
        try:
            return {file.name: _download(mirror, file, archives[f"{file.name}.gz"]) for file in files}
        except (OSError, http.client.HTTPException, EOFError, zlib.error, SourceError) as error:  # noqa: PERF203
            reasons.append(f"{mirror}: {error}")
    raise SourceError("; ".join(reasons))


def _download(mirror: str, file: IdxFile, archive_md5: str) -> bytes:
    with urllib.request.urlopen(f"{mirror}{file.name}.gz", timeout=_TIMEOUT) as response:  # noqa: S310
        packed: bytes = response.read()
    found = hashlib.md5(packed, usedforsecurity=False).hexdigest()
    if found != archive_md5:
        raise SourceError(f"{file.name}.gz must have MD5 {archive_md5}, got {found}")
    return verified(file, gzip.decompress(packed), mirror)
