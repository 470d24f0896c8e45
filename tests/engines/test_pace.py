"""How many threads the native engine's calls use: whatever is faster now, found out at little cost."""

from __future__ import annotations

from collections.abc import Callable

from rnn_sweep.engines.native.pace import Pace


def used(pace: Pace, ticks: int, seconds: Callable[[int, int], float]) -> list[int]:
    """The threads of each tick, where a step takes ``seconds(tick, threads)``."""
    found = []
    for tick in range(ticks):
        threads = pace.threads(4)
        pace.took(threads, seconds(tick, threads))
        found.append(threads)
    return found


def test_all_threads_are_used_where_they_are_faster() -> None:
    threads = used(Pace(), 100, lambda tick, threads: 1 / threads)
    assert threads.count(1) <= 8


def test_one_thread_is_used_where_meeting_costs_more() -> None:
    assert used(Pace(), 100, lambda tick, threads: threads).count(4) <= 8


def test_a_moment_of_other_work_is_soon_forgotten() -> None:
    threads = used(Pace(), 100, lambda tick, threads: 50.0 if tick == 60 and threads > 1 else 1 / threads)
    assert threads[60] == 4
    assert threads[61:64].count(1) >= 1
    assert threads[64:80].count(1) <= 3


def test_one_thread_where_one_is_allowed() -> None:
    pace = Pace()
    assert {pace.threads(1) for _ in range(10)} == {1}


def test_a_call_lasts_about_a_tick() -> None:
    pace = Pace()
    first = pace.steps(1)
    pace.took(1, 0.001)
    assert first < pace.steps(1) == 200
