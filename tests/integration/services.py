"""Real servers on loopback, started for a test and ended with it. What is not installed skips the test."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest


def needed(name: str, package: str, *places: str) -> str:
    """The path of a program. Skips the test where it is not installed; ``.ci/run`` sees to it that it is."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *places])
    found = shutil.which(name, path=path)
    if found is None:
        pytest.skip(f"needs {package}")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(what: str, condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.1)


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextmanager
def running(
    command: Sequence[str],
    folder: Path,
    env: Mapping[str, str] | None = None,
    name: str | None = None,
    grace: float = 20.0,
) -> Iterator[subprocess.Popen[bytes]]:
    """A server in a process group of its own, its output in ``folder/<name>.log``; killed after ``grace`` seconds.

    The system tells it to end where this process is killed.
    """
    log = folder / f"{name or Path(command[0]).name}.log"
    orphaned = ["setpriv", "--pdeathsig=TERM"] if shutil.which("setpriv") else []
    with log.open("ab") as file:
        server = subprocess.Popen(
            [*orphaned, *command],
            cwd=folder,
            env=env,
            stdout=file,
            stderr=file,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        yield server
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(grace)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


@contextmanager
def finally_run(*command: str) -> Iterator[None]:
    """Run ``command`` at the end, also where this process is killed before: a shell waits for its input to end."""
    words = ["sh", "-c", 'read _; exec "$@"', "sh", *command]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True):
        yield


@dataclass(frozen=True)
class Account:
    """Who a server runs as: database servers refuse to be root."""

    name: str
    folder: Path

    def command(self, *words: str) -> list[str]:
        if os.geteuid() != 0:
            return list(words)
        return ["setpriv", f"--reuid={self.name}", f"--regid={self.name}", "--clear-groups", *words]

    def run(self, *words: str) -> str:
        done = subprocess.run(self.command(*words), cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def own(self, path: Path) -> None:
        if os.geteuid() == 0:
            shutil.chown(path, self.name, self.name)


@contextmanager
def account(name: str) -> Iterator[Account]:
    """An account of the system with a folder of its own: pytest's are closed to others."""
    with suppress(KeyError):
        pwd.getpwnam(name)
        with tempfile.TemporaryDirectory(prefix="rnn-sweep-") as folder:
            found = Account(name, Path(folder))
            found.own(found.folder)
            yield found
        return
    pytest.skip(f"needs an account {name!r}")


@dataclass(frozen=True)
class PostgreSQL:
    """A server with passwords; its superuser is ``sweep``."""

    port: int
    data: Path
    postgres: Account
    pg_ctl: str
    password: str = "s3cret-p@ss"  # noqa: S105 - of a server that lives as long as a test

    def url(self, database: str, password: str | None = None) -> str:
        """Without a password unless one is given."""
        secret = "" if password is None else f":{password.replace('@', '%40')}"
        return f"postgresql://sweep{secret}@127.0.0.1:{self.port}/{database}"

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        import psycopg

        where = f"host=127.0.0.1 port={self.port} user=sweep dbname={database}"
        with psycopg.connect(where, password=self.password, autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def control(self, *words: str) -> None:
        self.postgres.run(self.pg_ctl, "-D", str(self.data), "-w", *words)

    def start(self) -> None:
        sockets = self.data.parent
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -k {sockets} -c fsync=off"
        self.control("-l", str(sockets / "log"), "-o", options, "start")


@contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    debian = sorted(str(path) for path in Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
    initdb, pg_ctl = (needed(name, "PostgreSQL (Debian: postgresql)", *debian) for name in ("initdb", "pg_ctl"))
    pytest.importorskip("psycopg", reason="needs psycopg (pip: psycopg[binary])")
    with account("postgres") as postgres:
        server = PostgreSQL(free_port(), postgres.folder / "data", postgres, pg_ctl)
        secret = postgres.folder / "password"
        secret.write_text(server.password)
        postgres.own(secret)
        postgres.run(initdb, "-D", str(server.data), "-A", "scram-sha-256", "-U", "sweep", f"--pwfile={secret}")
        server.start()
        with finally_run(*postgres.command(pg_ctl, "-D", str(server.data), "-w", "-m", "immediate", "stop")):
            yield server


@contextmanager
def mute() -> Iterator[int]:
    """A port that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


class Ray:
    """A cluster on loopback: a head without CPUs of its own, and nodes that come and go."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.token = secrets.token_hex(16)
        self.folder = folder
        self._stack = stack
        self._start("head", "--head", f"--port={self.port}", "--num-cpus=0", "--include-dashboard=false")
        wait_until("the head", lambda: listens(self.port))

    @property
    def env(self) -> dict[str, str]:
        """What members of the cluster and programs that use it have in their environment."""
        quick = {"period_ms": 1000, "timeout_ms": 2000, "failure_threshold": 3}
        return {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "RAY_DISABLE_IMPORT_WARNING": "1",
            **{f"RAY_health_check_{name}": str(value) for name, value in quick.items()},
        }

    def node(self, cpus: int, gpus: int = 0) -> subprocess.Popen[bytes]:
        """Add a node and wait for it; Ray believes what it is told of GPUs."""
        before = self._nodes()
        node = self._start("node", f"--address={self.address}", f"--num-cpus={cpus}", f"--num-gpus={gpus}")
        wait_until("the node", lambda: self._nodes() > before)
        return node

    @staticmethod
    def kill(node: subprocess.Popen[bytes]) -> None:
        """Kill all processes of a node at once, as a machine that loses its power does."""
        import psutil

        parent = psutil.Process(node.pid)
        for process in [*parent.children(recursive=True), parent]:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def _nodes(self) -> int:
        log = self.folder / "node.log"
        return log.read_text().count("Ray runtime started") if log.exists() else 0

    def _start(self, name: str, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", *words]
        command += ["--node-ip-address=127.0.0.1", "--object-store-memory=100000000"]
        if name == "head":
            command.append(f"--temp-dir={self.folder}")
        return self._stack.enter_context(running(command, self.folder, self.env, name, grace=2.0))


@contextmanager
def ray() -> Iterator[Ray]:
    pytest.importorskip("ray", reason="needs ray (pip)")
    # Its sockets lie in this folder, and their paths must be short.
    with tempfile.TemporaryDirectory(prefix="ray-") as folder, ExitStack() as stack:
        yield Ray(Path(folder), stack)
