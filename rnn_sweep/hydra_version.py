"""Where Hydra's releases differ: the one place that asks which of them is installed."""

from __future__ import annotations

from typing import Any

import hydra

BEFORE_1_4 = hydra.__version__.startswith("1.3.")

BASE: dict[str, str] = {"version_base": "1.3"} if BEFORE_1_4 else {}
"""Arguments of ``hydra.main`` and its like: Hydra 1.3 asks for a version base, 1.4 warns of one."""


def trusting(*targets: str) -> dict[str, Any]:
    """Arguments of ``hydra.main`` for a program whose configuration may name what is to be called.

    Args:
        targets: that Hydra may call from 1.4 on, such as ``package.*``. Before, it knows what it must not call only.
    """
    return BASE or {"execution_whitelist": targets}
