"""A nested configuration as MLflow parameters."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

MAX_VALUE = 6000
"""Longest parameter value, in characters, that MLflow keeps (``mlflow.utils.validation``)."""
MAX_KEY = 250
"""Longest parameter name that MLflow keeps."""

_FORBIDDEN = re.compile(r"[^\w\-. :/]")


def flatten(tree: Mapping[str, object]) -> dict[str, str]:
    """Turn ``{"model": {"hidden_dim": 64}}`` into ``{"model.hidden_dim": "64"}``.

    Values are written as on Hydra's command line (``null``, ``true``), lists as JSON. Names and values longer
    than MLflow keeps are cut. The result depends on the input alone: a resumed run logs the very same values.
    """
    flat: dict[str, str] = {}
    for key, value in tree.items():
        name = _FORBIDDEN.sub("_", str(key))
        if isinstance(value, Mapping) and value:
            for below, text in flatten(value).items():
                flat[f"{name}.{below}"[:MAX_KEY]] = text
        else:
            flat[name[:MAX_KEY]] = _text(value)
    return flat


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"
