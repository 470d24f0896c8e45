"""What a signal may interrupt."""

from __future__ import annotations

import io
import logging
import signal

import pytest

from rnn_sweep.run import signals


class Interrupted(io.RawIOBase):
    """A stream that the first signal comes to while it is written to."""

    def __init__(self) -> None:
        self.got = b""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        if not self.got:
            signal.raise_signal(signal.SIGINT)
        self.got += bytes(data)  # type: ignore[call-overload]
        return len(bytes(data))  # type: ignore[call-overload]


def test_a_signal_amid_a_line_of_the_log_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    raw = Interrupted()
    handler = logging.StreamHandler(io.TextIOWrapper(io.BufferedWriter(raw)))
    signals.log.addHandler(handler)
    signals.log.setLevel(logging.INFO)
    try:
        with signals.interruptible() as interrupt:
            signals.log.info("epoch 1")
        handler.acquire()  # once the line is written
        handler.release()
    finally:
        signals.log.removeHandler(handler)
    assert interrupt.signal == signal.SIGINT
    assert "Logging error" not in capsys.readouterr().err
    assert raw.got.startswith(b"epoch 1\n")
