"""Names of metrics in MLflow's store, where they differ from ours.

MLflow's UI sorts charts into sections by what stands before the slash, and shows those without one last. ``test/…`` and
``naive/…``, one figure each, would come before every curve.
"""

from __future__ import annotations

_SINGLE = ("test", "naive")


def single(name: str) -> str:
    """What a final metric is called in the store: ``test_loss`` for ``test/loss``."""
    part, slash, rest = name.partition("/")
    return f"{part}_{rest}" if slash and part in _SINGLE else name


def ours(name: str) -> str:
    """The inverse of :func:`single`."""
    part, line, rest = name.partition("_")
    return f"{part}/{rest}" if line and part in _SINGLE else name
