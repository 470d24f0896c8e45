"""The form in which a kind of state is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Restore: TypeAlias = Callable[[bool], str]
"""Puts something back, told whether the job failed; returns in words what was otherwise, or nothing."""

Take: TypeAlias = Callable[[], Restore]
"""Notes what something is like before a job."""
