"""Timeouts for calls that have none of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable


def within(seconds: float, call: Callable[[], object]) -> None:
    """Run ``call`` in a thread and wait for it, up to ``seconds``; one that is late is left to itself.

    Raises:
        TimeoutError: there was no answer in time.
        Exception: whatever the call raised.
    """
    raised: list[BaseException] = []

    def attempt() -> None:
        try:
            call()
        except BaseException as error:  # carried over to the caller's thread, whatever it is
            raised.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"no answer within {seconds:.0f} s")
    if raised:
        raise raised[0]
