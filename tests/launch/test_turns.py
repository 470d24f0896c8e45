"""Whose turn it is: never more holders than cores, first come first served, and no idle core while someone waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from rnn_sweep.launch.turns import Turns


class Workers:
    """Threads that each take a turn and hold it until they are told to end it."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.began: list[str] = []
        self._ends: dict[str, threading.Event] = {}
        self._threads: list[threading.Thread] = []

    def start(self, name: str) -> None:
        """Returns when the thread holds a core or stands in line."""
        line = len(self.turns._line)
        self._ends[name] = threading.Event()
        self._threads.append(threading.Thread(target=self._work, args=(name,)))
        self._threads[-1].start()
        while name not in self.began and len(self.turns._line) == line:
            time.sleep(0.001)

    def end(self, name: str, *then: str) -> None:
        """Returns when those have begun who are expected to."""
        self._ends[name].set()
        while not set(then) <= set(self.began):
            time.sleep(0.001)

    def close(self) -> None:
        for event in self._ends.values():
            event.set()
        for thread in self._threads:
            thread.join()

    def _work(self, name: str) -> None:
        with self.turns.turn():
            self.began.append(name)
            self._ends[name].wait()


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers(Turns(2))
    yield made
    made.close()


def test_turns_are_taken_in_order(workers: Workers) -> None:
    for name in "abcde":
        workers.start(name)
    assert set(workers.began) == {"a", "b"}
    workers.end("b", "c")
    assert len(workers.began) == 3
    workers.end("a", "d")
    workers.end("c", "e")
    assert workers.began[2:] == ["c", "d", "e"]


def test_a_turn_that_ends_early_is_anothers_and_ends_once(workers: Workers) -> None:
    turns = workers.turns
    with turns.turn():
        workers.start("a")
        workers.start("b")
        assert workers.began == ["a"]
        turns.end()
        turns.end()
        workers.end("b", "b")
        workers.start("c")
    assert workers.began == ["a", "b", "c"]
    workers.start("d")
    workers.start("e")
    assert "e" not in workers.began


def test_an_exception_gives_the_core_back() -> None:
    turns = Turns(1)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), turns.turn():
            1 / 0  # noqa: B018
    with turns.turn():
        pass


@pytest.mark.parametrize(("cores", "holders", "threads"), [(2, 0, 2), (2, 1, 2), (2, 2, 1), (8, 3, 2), (8, 5, 1)])
def test_idle_cores_are_for_those_who_compute(cores: int, holders: int, threads: int) -> None:
    turns = Turns(cores)
    workers = Workers(turns)
    for name in "abcdefgh"[:holders]:
        workers.start(name)
    while len(workers.began) < holders:
        time.sleep(0.001)
    assert turns.threads() == threads
    workers.close()
