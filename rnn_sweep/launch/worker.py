"""Worker processes: how they start, run a job, and send its result back.

A result travels as bytes made here, so that a return value or an exception that cannot be pickled, or cannot
be unpickled at the other end, fails its own job and not the channel to the worker.
"""

from __future__ import annotations

import contextlib
import gc
import inspect
import linecache
import multiprocessing
import multiprocessing.util
import os
import pickle
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from functools import cache, partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from loky.backend.utils import kill_process_tree  # type: ignore[import-untyped]
from omegaconf import DictConfig, open_dict

from rnn_sweep import watchdog

GRACE_SECONDS = 5.0
"""How long a job that was told to stop (SIGTERM) may take to write down what it has."""
_PARENT_POLL_SECONDS = 0.5

_packed_setup = b""
_script: str | None = None
"""The user's program."""


class RemoteTraceback(Exception):  # noqa: N818 - not raised: the cause of an exception that was
    """The traceback of a worker process as text, chained to the exception it belongs to."""

    def __str__(self) -> str:
        return f"in the worker process:\n{self.args[0]}"


def start(parent: int) -> None:
    """Prepare this worker, which ends with the process ``parent``."""
    prepare()
    threading.Thread(target=_end_with, args=(parent,), name="parent-watch", daemon=True).start()
    multiprocessing.util.Finalize(None, _end_in_time, exitpriority=1000)  # before anything else that is done at the end


def prepare(packed_setup: bytes = b"") -> None:
    """Prepare this worker; nothing here can fail because of the app (see :func:`_setup`)."""
    global _packed_setup
    _packed_setup = packed_setup
    # A handler, not SIG_IGN: programs started by a job would inherit the latter.
    signal.signal(signal.SIGINT, _ignore)
    # loky has made itself the start method of the whole process; a job's own processes start as anywhere else.
    multiprocessing.set_start_method(None, force=True)


def begin(overrides: list[str], index: int, mark: str, setup: str) -> bytes:
    """As :func:`work`, and says so.

    Args:
        overrides: of the job.
        index: becomes ``hydra.job.num``.
        mark: a file that is created when the job begins, and holds its deadline where it announces one.
        setup: a file with what all jobs need.
    """
    global _packed_setup
    Path(mark).touch()
    watchdog.watched(Path(mark))
    _packed_setup = _packed_setup or Path(setup).read_bytes()
    return work(overrides, index)


def work(overrides: list[str], index: int) -> bytes:
    """Run one job as Hydra's launchers do; the answer is for :func:`unpack`."""
    try:
        answer = _pack(_run(overrides, index))
    except (SystemExit, KeyboardInterrupt) as stop:
        # run_job catches neither, and one job must not end the sweep.
        answer = _pack(failed(overrides, RuntimeError(f"the job ended with {stop!r}")))
    except Exception as error:
        answer = _pack(error)
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # closed by the task, or nobody reads any more
                stream.flush()
    return answer


def unpack(answer: bytes) -> JobReturn:
    """The job's result from :func:`work`'s answer; raises what kept its task from starting."""
    result, trace = pickle.loads(answer)  # noqa: S301 - from our own worker process, through a pipe
    error = result if isinstance(result, Exception) else result._return_value
    if trace is not None:
        error.__cause__ = RemoteTraceback(trace)
    if isinstance(result, Exception):
        raise result
    assert isinstance(result, JobReturn)  # noqa: S101
    return result


def failed(overrides: Sequence[str], error: BaseException) -> JobReturn:
    """What ``run_job`` would have returned, had it been able to."""
    return JobReturn(overrides=list(overrides), status=JobStatus.FAILED, _return_value=error)


def _run(overrides: list[str], index: int) -> JobReturn:
    context, task, config = _setup()
    sweep_config = context.config_loader.load_sweep_config(config, overrides)
    with open_dict(sweep_config):
        sweep_config.hydra.job.id = f"{sweep_config.hydra.job.name}_{index}"
        sweep_config.hydra.job.num = index
    return run_job(
        hydra_context=context,
        config=sweep_config,
        task_function=task,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )


@cache
def _setup() -> tuple[HydraContext, TaskFunction, DictConfig]:
    """The app, unpacked by the first job, so that an import that fails is that job's error."""
    # Hydra executes plugin modules when it looks for plugins. Let it do so now, once: set_state would do it
    # again, and cloudpickle would then send classes by value, being no longer those of their modules.
    plugins = Plugins.instance()
    global _script
    context, task, config, singletons, program = pickle.loads(_packed_setup)  # noqa: S301 - from our parent
    _script, name = program
    _become(task, _script, name)
    singletons["instances"][Plugins] = plugins
    setup_globals()
    Singleton.set_state(singletons)
    gc.collect()
    gc.freeze()  # what is there stays: the collector need not look through it after each few jobs
    return context, task, config


def _become(task: TaskFunction, script: str | None, name: str | None) -> None:
    """Make what was sent of the user's program this process's ``__main__``, as it is where the program runs by itself.

    A process that a job spawns is told its function by name, and imports the program ``script``, or as the module
    ``name``, to find it.
    """
    found = getattr(inspect.unwrap(task), "__globals__", {})
    if found.get("__name__") != "__main__":  # it has a module of its own
        return
    main = ModuleType("__main__")
    vars(main).update(found)
    if script is not None:
        main.__file__ = script
    main.__spec__ = None if name is None else ModuleSpec(name, None)
    sys.modules["__main__"] = main


def _pack(result: JobReturn | Exception) -> bytes:
    if isinstance(result, JobReturn):
        value = result._return_value
        trace = _trace(value) if result.status == JobStatus.FAILED else None
        problem = _why_it_cannot_travel(value)
        if problem is not None:
            result.status, result._return_value = JobStatus.FAILED, _stand_in(value, problem, trace)
    else:
        trace = _trace(result)
        problem = _why_it_cannot_travel(result)
        result = result if problem is None else _stand_in(result, problem, trace)
    return bytes(cloudpickle.dumps((result, trace)))


def _trace(error: BaseException) -> str:
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip()
    return text if _script is None else _BY_VALUE.sub(partial(_located, _script), text)


_BY_VALUE = re.compile(r'File "<dynamic-code>", line (\d+)(.*)')
"""How a traceback names what cloudpickle sent by value: the functions of the user's program."""


def _located(script: str, found: re.Match[str]) -> str:
    line = linecache.getline(script, int(found[1])).strip()
    return f'File "{script}", line {found[1]}{found[2]}' + (f"\n    {line}" if line else "")


def _why_it_cannot_travel(value: Any) -> Exception | None:
    try:
        pickle.loads(cloudpickle.dumps(value))  # noqa: S301 - our own value
    except Exception as error:
        return error
    return None


def _stand_in(value: Any, problem: Exception, trace: str | None) -> Exception:
    """What is reported in place of ``value``; ``trace`` is there when ``value`` is an exception."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if trace is not None:
        return RuntimeError(f"{kind}: {value}")
    return TypeError(f"the job's return value, a {kind}, cannot be sent to the sweep's process: {problem}")


def _ignore(number: int, frame: FrameType | None) -> None:
    """Leave Ctrl-C to the sweep's process."""


def _end_in_time() -> None:
    """Called when this process has run its last job: what jobs have left running may hold the end up for a while."""
    threading.Thread(target=_end_anyway, name="end-watch", daemon=True).start()
    joblib = sys.modules.get("joblib.externals.loky")
    if joblib is not None:  # its idle processes would end by themselves, after five minutes
        joblib.get_reusable_executor(reuse=True).shutdown(wait=True, kill_workers=True)


def _end_anyway() -> None:
    time.sleep(GRACE_SECONDS)
    own = {threading.main_thread(), threading.current_thread()}
    threads = [f"thread {each.name!r}" for each in threading.enumerate() if not each.daemon and each not in own]
    children = multiprocessing.active_children()
    left = ", ".join([*threads, *(f"process {each.name!r} ({each.pid})" for each in children)]) or "something"
    message = f"a job has left running: {left}; its worker process ended {GRACE_SECONDS:g} s later without it"
    print(message, file=sys.stderr, flush=True)
    for child in children:
        kill_process_tree(child)
    os._exit(0)


def _end_with(parent: int) -> None:
    """End this process when ``parent`` is gone, even while a job runs: nobody would take its result.

    Linux could send a signal instead (``PR_SET_PDEATHSIG``), but when the *thread* ends that started the
    worker.
    """
    while os.getppid() == parent:
        time.sleep(_PARENT_POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(1)
