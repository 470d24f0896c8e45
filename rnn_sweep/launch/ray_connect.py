"""Joining a Ray cluster, or starting one on this machine, with an answer in seconds where there is none."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rnn_sweep.errors import UserError

ANSWER_SECONDS = 4.0
_HTTP2_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_SETTINGS_FRAME = 4
_ATTEMPTS = "5"
"""A second apart; Ray itself would ask a cluster that refuses the token twenty times."""


def connect(address: str | None) -> None:
    """Join the cluster at ``address``, or at ``$RAY_ADDRESS``; where both are missing start one on this machine.

    Does nothing where this process has joined one already.

    Raises:
        UserError: Ray is not installed, or there is no cluster at the address that takes this program.
    """
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", _ATTEMPTS)  # read when Ray is imported, as the next ones
    if where == "local" and "RAY_AUTH_MODE" not in os.environ:
        # Ray listens on all of a machine's addresses, whatever it is told, and runs what it is sent.
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    try:
        import ray
    except ImportError as error:
        raise UserError(f"hydra/launcher=ray needs a package: {error}; pip install 'rnn-sweep[ray]'") from None
    if ray.is_initialized():
        return
    _check_answer(where)
    with tempfile.TemporaryFile("w+") as said:
        try:
            with _own_signals(), _native_stderr(said):
                # In a cluster of this machine alone nobody looks at a dashboard.
                dashboard = False if where == "local" else None
                ray.init(address=where, logging_level=logging.ERROR, include_dashboard=dashboard)
        except Exception as error:  # of many kinds, down to OSError and AssertionError
            said.seek(0)
            refused = "it refuses RAY_AUTH_TOKEN" if "InvalidAuthToken" in said.read() else None
            reason = refused or " ".join(str(error).split())[:300]
            raise UserError(f"hydra.launcher.address={where}: the cluster cannot be joined: {reason}") from None


def _check_answer(address: str) -> None:
    """See whether something speaks Ray's protocol there: where nothing does, Ray ends the process after minutes."""
    host, colon, port = address.rpartition(":")
    if "://" in address or not colon:  # ray://…, auto, local
        return
    if not port.isdigit():
        raise UserError(f"hydra.launcher.address must be null, auto or host:port, got {address!r}")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS", "0") != "1":
                connection.sendall(_HTTP2_HELLO)
                if connection.recv(9)[3:4] != bytes([_SETTINGS_FRAME]):
                    raise UserError(f"hydra.launcher.address={address}: what answers there is no Ray cluster")
    except OSError as error:
        reason = "no answer" if isinstance(error, TimeoutError) else error.strerror or error
        raise UserError(f"hydra.launcher.address={address}: there is no Ray cluster: {reason}") from None


@contextmanager
def _native_stderr(file: TextIO) -> Iterator[None]:
    """Let what Ray's native code writes to standard error go into ``file``: it tells of each attempt."""
    sys.stderr.flush()
    before = os.dup(2)
    os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep the program's handlers: Ray puts one of its own for SIGTERM in place."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
