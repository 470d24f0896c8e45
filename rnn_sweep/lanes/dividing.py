"""How the lanes of a network are divided among threads, and a thread's share into chunks; pure."""

from __future__ import annotations

from itertools import pairwise

from rnn_sweep.models.recurrent import ModelSpec


def lanes_at_once(spec: ModelSpec) -> int:
    """How many lanes a thread takes together: enough to pay for the calls, few enough for its cache."""
    return max(1, min(16, 1024 // spec.hidden_dim))


def divide(lanes: int, threads: int, at_once: int) -> list[list[slice]]:
    """Divide ``lanes`` among up to ``threads`` threads, each share into chunks of at most ``at_once``."""
    shares = even(slice(0, lanes), min(threads, lanes))
    return [even(share, -(-(share.stop - share.start) // at_once)) for share in shares]


def even(whole: slice, parts: int) -> list[slice]:
    """Cut ``whole`` into ``parts`` slices whose lengths differ by one at most."""
    size = whole.stop - whole.start
    bounds = [whole.start + size * i // parts for i in range(parts + 1)]
    return [slice(a, b) for a, b in pairwise(bounds)]
