"""MLflow's UI on a store: the server that runs already, or one of our own on loopback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rnn_sweep.errors import UserError
from rnn_sweep.redaction import scrub
from rnn_sweep.tracking.sqlite import artifact_root
from rnn_sweep.tracking.store import Store

HOST = "127.0.0.1"
PORTS = range(5000, 5010)
"""Where a server is looked for, and started on the first that is free; ``mlflow ui`` takes the first of them."""
_START_SECONDS = 120.0
_STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Server:
    """A server that this process has started."""

    address: str
    process: subprocess.Popen[bytes]
    log: Path
    store: Store

    def wait(self) -> None:
        """Wait until the server ends, which it does not do by itself.

        Raises:
            UserError: it did.
        """
        self.process.wait()
        raise self.ended()

    def ended(self) -> UserError:
        """The message about its end, with the last thing that it said."""
        lines = self.log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
        return UserError(f"MLflow's server ended by itself: {scrub(lines[-1], self.store.uri)[:300]}")


def find_running(run_id: str, ports: Sequence[int]) -> str | None:
    """The address of a server on this machine whose store has a run; None where there is none."""
    for port in ports:
        address = f"http://{HOST}:{port}"
        if _is_taken(port) and _answers(f"{address}/api/2.0/mlflow/runs/get?run_id={run_id}"):
            return address
    return None


@contextmanager
def serving(store: Store, ports: Sequence[int]) -> Iterator[Server]:
    """Run a server on a store within the context, on the first port that is free.

    Raises:
        UserError: all ports are taken, or the server does not start.
    """
    port = next((port for port in ports if not _is_taken(port)), None)
    if port is None:
        given = f"{ports[0]}" if len(ports) == 1 else f"one of {ports[0]} to {ports[-1]}"
        raise UserError(f"--port must be free; another program listens on {given}")
    line = [sys.executable, "-m", "mlflow", "ui", "--host", HOST, "--port", str(port), "--workers", "1"]
    env = {**os.environ, "MLFLOW_BACKEND_STORE_URI": store.uri}  # may hold a password, which no argument should
    env.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # ten processes, for jobs that no run has
    if store.database is not None:
        line += ["--default-artifact-root", artifact_root(store.database).as_uri()]
    with tempfile.TemporaryDirectory(prefix="rnn-sweep-ui-") as folder:
        log = Path(folder, "server.log")
        with log.open("wb") as out:
            process = subprocess.Popen(line, env=env, stdout=out, stderr=out, start_new_session=True)  # noqa: S603
        server = Server(f"http://{HOST}:{port}", process, log, store)
        try:
            _wait_for(server)
            yield server
        finally:
            _end(process)


def _wait_for(server: Server) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(f"{server.address}/health"):
        if server.process.poll() is not None:
            raise server.ended()
        if time.monotonic() > deadline:
            raise UserError(f"MLflow's server did not answer on {server.address} within {_START_SECONDS:.0f} s")
        time.sleep(0.1)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server with the workers that it has started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # else one that was left a moment ago is taken
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


def _answers(address: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False
