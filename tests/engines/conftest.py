from __future__ import annotations

from tests.training.conftest import digits, make, one_thread

__all__ = ["digits", "make", "one_thread"]
