"""Commands of Python as real processes, forked from one that has imported torch, MLflow, Optuna and Hydra already.

Importing them takes three seconds of a core, and the suite starts hundreds of commands. :func:`run` and :class:`Popen`
are :mod:`subprocess`'s own, for ``[sys.executable, script, …]`` and ``[sys.executable, "-m", module, …]``: the process
is a child of this one with the given streams, folder, environment and session, takes signals and imports all of our
own modules. What else a command line may hold, such as ``-c``, starts Python anew.

So are the workers that loky and joblib start, in such a command and in the tests themselves.

Use :mod:`subprocess` where starting is what is tested: imports, installation, what a job finds in a fresh process.
``COLD=1`` in a command's environment starts it anew, ``COLD_WORKERS=1`` its workers; ``COLD=1`` in that of the tests
every command, as a system other than Linux does.
"""

from __future__ import annotations

import _posixsubprocess
import array
import atexit
import contextlib
import ctypes
import fcntl
import functools
import gc
import importlib
import inspect
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

PRELOADED = (
    *("alembic.command", "alembic.runtime.migration", "cloudpickle", "graphql", "hydra._internal.hydra", "jinja2"),
    *("hydra._internal.utils", "hydra.core.override_parser.overrides_parser", "matplotlib.pyplot", "mlflow"),
    *("mlflow.data.numpy_dataset", "mlflow.models", "mlflow.pyfunc", "mlflow.store.db.utils", "numpy", "omegaconf"),
    *("mlflow.store.tracking.sqlalchemy_store", "mlflow.tracking._tracking_service.utils", "optuna", "pandas", "PIL"),
    *("optuna.importance", "optuna.pruners", "optuna.samplers", "optuna.storages.journal", "plotly.graph_objects"),
    *("rich.console", "rich.progress", "rich.table", "safetensors.torch", "scipy.stats", "sqlalchemy.dialects.sqlite"),
    *("torch", "typer", "yaml"),
)
ROOT = Path(__file__).resolve().parents[1]
COLD = bool(os.environ.get("COLD")) or sys.platform != "linux"
_READ_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "OMP_", "MKL_", "OPENBLAS_", "MLFLOW_ENABLE", "MPL", "XDG_")
"""Prefixes of variables that Python or a library reads when it starts."""
_HARMLESS = {f"{library}_NUM_THREADS" for library in ("OMP", "MKL", "OPENBLAS")}
_HARMLESS |= {"PYTHONPATH", "PYTHONUNBUFFERED", "XDG_CACHE_HOME"}
"""Those that :func:`_become` sees to, or nothing has read before the fork, or which are of no matter here."""
MOST_BYTES = 1 << 17
"""Of a request: the command line with its environment."""
_PR_SET_CHILD_SUBREAPER = 36
_environment = dict(os.environ)


class Popen(subprocess.Popen[Any]):
    """A process as of :class:`subprocess.Popen`, whose pipes hold a megabyte, so that it need not wait for a reader."""

    def __init__(self, line: Sequence[Any], *, pipesize: int = 1 << 20, **settings: Any) -> None:
        super().__init__(line, pipesize=pipesize, **settings)

    _execute = inspect.signature(subprocess.Popen._execute_child)

    def _execute_child(self, *given: Any) -> None:
        """Have the process forked where :mod:`subprocess` forks and executes; the rest of that class stays as it is."""
        settings = self._execute.bind(self, *given).arguments
        line, env = [str(word) for word in settings["args"]], dict(settings["env"] or os.environ)
        if COLD or not _can_be_forked(line, env):
            super()._execute_child(*given)
            return
        streams = [settings["p2cread"], settings["c2pwrite"], settings["errwrite"]]
        request = {"line": line, "env": env, "cwd": str(settings["cwd"] or os.getcwd())}
        request["session"] = settings["start_new_session"]
        self.pid = _server().fork(request, {fd: own if own != -1 else fd for fd, own in enumerate(streams)})
        self._child_created = True
        pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(settings[name] for name in pipes))


def run(
    line: Sequence[Any],
    *,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **settings: Any,
) -> subprocess.CompletedProcess[Any]:
    """As :func:`subprocess.run`."""
    if capture_output:
        settings |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Popen(line, **settings) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
        done = subprocess.CompletedProcess(line, process.returncode, out, err)
    if check:
        done.check_returncode()
    return done


def _can_be_forked(line: Sequence[str], env: Mapping[str, str]) -> bool:
    if env.get("COLD") or line[0] != sys.executable or len(line) < 2 or (line[1].startswith("-") and line[1] != "-m"):
        return False
    changed = {name for name in env.keys() | _environment.keys() if env.get(name) != _environment.get(name)}
    return not any(name.startswith(_READ_AT_START) for name in changed - _HARMLESS)


class _Server:
    """Our end of the process that forks; ``start`` is given the other end, and brings that process about."""

    def __init__(self, start: Callable[[socket.socket], None]) -> None:
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for each in (self._socket, other):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self._lock = threading.Lock()
        start(other)
        other.close()
        if self._socket.recv(16) != b"ready":
            raise RuntimeError("the process that commands are forked from has not started")

    def fork(self, request: Mapping[str, Any], fds: Mapping[int, int]) -> int:
        """Start a command as a child of this process; returns its process ID.

        Args:
            request: ``line``, ``env``, ``cwd`` and ``session`` as of :class:`subprocess.Popen`.
            fds: its file descriptors, and ours that they are.
        """
        with self._lock, _adopting():
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds.values()))
            self._socket.sendmsg([json.dumps({**request, "fds": list(fds)}).encode()], [rights])
            return int(self._socket.recv(32))


@functools.cache
def _server() -> _Server:
    """The process that has imported everything, of which this process is the parent."""

    def start(other: socket.socket) -> None:
        line = [sys.executable, "-m", "tests.warm", str(other.fileno())]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        process = subprocess.Popen(line, cwd=ROOT, env=_environment, pass_fds=[other.fileno()], **quiet)
        atexit.register(process.wait)  # called last, as it is registered first

    server = _Server(start)
    atexit.register(server._socket.close)
    return server


def _beside(other: socket.socket) -> None:
    """Fork a process that is as this one is now, and forks workers from then on."""
    if os.fork() == 0:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        nothing = os.open(os.devnull, os.O_RDWR)
        for fd in range(3):  # who reads what the command says is not kept waiting for its end
            os.dup2(nothing, fd)
        os.closerange(3, other.fileno())  # our end of it among them, without which this one would not see its end
        os.closerange(other.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
        _run(*_serve(other))


def fork_workers(server: Callable[[], _Server] = _server) -> None:
    """From now on have the workers that loky and joblib start in this process forked by ``server``."""
    execute = _posixsubprocess.fork_exec

    def fork(line: Sequence[bytes], *given: Any) -> int:
        words, (_, _, fds, _, encoded) = [os.fsdecode(word) for word in line], given[:5]
        worker = len(words) > 2 and words[2].endswith("loky.backend.popen_loky_posix")
        if worker and "COLD_WORKERS" not in os.environ:
            env = dict(os.fsdecode(each).split("=", 1) for each in encoded)
            if _can_be_forked(words, env):
                request = {"line": words, "env": env, "cwd": os.getcwd(), "session": False}
                with contextlib.suppress(OSError, ValueError):  # it has ended with a signal to all of the group
                    return server().fork(request, {fd: fd for fd in (0, 1, 2, *fds)})
        return execute(line, *given)

    if not COLD:
        _posixsubprocess.fork_exec = fork


@contextlib.contextmanager
def _adopting() -> Any:
    """Meanwhile orphans below this process become its children, as the system's init has them otherwise."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        _prctl(_PR_SET_CHILD_SUBREAPER, 0)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def _serve(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Fork a process for each request: there, and only there, this returns, with its file descriptors."""
    connection.send(b"ready")
    while True:
        data, rights, _, _ = connection.recvmsg(MOST_BYTES, 1024)
        if not data:
            os._exit(0)
        received = array.array("i")
        for _, _, fds in rights:
            received.frombytes(fds)
        reading, writing = os.pipe()
        between = os.fork()
        if between == 0:  # whose end makes an orphan of the command, which `_adopting` is for
            pid = os.fork()
            if pid == 0:
                for fd in (reading, writing, connection.fileno()):
                    os.close(fd)
                connection.detach()
                return json.loads(data), list(received)
            os.write(writing, str(pid).encode())
            os._exit(0)
        os.waitpid(between, 0)
        connection.send(os.read(reading, 32))
        for fd in (*received, reading, writing):
            os.close(fd)


def _run(request: Mapping[str, Any], received: Sequence[int]) -> None:
    """Make this process the command, to its end."""
    _become(request, received)
    if any("processes" in word or "joblib" in word for word in request["line"]):
        server = _Server(_beside)
        fork_workers(lambda: server)
    _execute(request["line"])


def _become(request: Mapping[str, Any], received: Sequence[int]) -> None:
    """Make this process what the command would be that had been started anew."""
    above = [fcntl.fcntl(fd, fcntl.F_DUPFD, 1000) for fd in received]  # out of the way of those they are to be
    for fd in received:
        os.close(fd)
    for fd, own in zip(request["fds"], above, strict=True):
        os.dup2(own, fd)
        os.close(own)
    before, env = os.environ.get("PYTHONPATH", ""), request["env"]
    os.environ.clear()
    os.environ.update(env)
    if request["session"]:
        os.setsid()
    os.chdir(request["cwd"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for each in (sys.stdout, sys.stderr):
        each.reconfigure(line_buffering=each is sys.stderr or each.isatty(), write_through="PYTHONUNBUFFERED" in env)
    paths = [path for path in env.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[1:] = [*paths, *(path for path in sys.path[1:] if path not in before.split(os.pathsep))]
    sys.modules.pop("tests", None)
    tempfile.tempdir = None
    np.random.seed()  # Python's own generator does so by itself
    if "OMP_NUM_THREADS" in env:
        torch.set_num_threads(int(env["OMP_NUM_THREADS"]))


def _execute(line: Sequence[str]) -> None:
    """Run the program, and end as a process of :mod:`multiprocessing` does, without taking every module down."""
    status = 1
    try:
        sys.orig_argv = list(line)
        if line[1] == "-m":
            sys.argv, sys.path[0] = [line[2], *line[3:]], os.getcwd()
            runpy.run_module(line[2], run_name="__main__", alter_sys=True)
        else:
            sys.argv, sys.path[0] = list(line[1:]), str(Path(line[1]).resolve().parent)
            runpy.run_path(line[1], run_name="__main__")
        status = 0
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as error:
        sys.excepthook(*sys.exc_info())
        if isinstance(error, KeyboardInterrupt):
            status = -signal.SIGINT
    threading._shutdown()
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    if status == -signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(status & 0xFF)


if __name__ == "__main__":
    for name in PRELOADED:
        importlib.import_module(name)
    import numpy as np
    import torch

    own = socket.socket(fileno=int(sys.argv[1]))
    gc.freeze()
    _run(*_serve(own))
