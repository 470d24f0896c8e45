"""``hydra/launcher=ray``: an actor for each slot, wherever in the cluster there is room.

- An actor is a worker process like those of :mod:`rnn_sweep.launch.processes`: it pays for imports once, and its death,
  or its node's, takes its own job along and nothing else. Ray does not run a job again by itself: the sweep does.
- A slot gets a job when its actor has found room. With more slots than the cluster has room for, jobs therefore go to
  whichever actor is free first, and nodes that join later are used at once.
- An actor without a job gives its CPUs and GPUs back after :data:`IDLE_SECONDS`, and ends with the sweep's process.
- It has the sweep's working folder, where that exists on its node, and those of the sweep's environment variables that
  name stores and hold their passwords (:data:`PASSED_ON`) or that the program has set, such as ``KERAS_BACKEND``; Ray
  sets the threads and visible GPUs that it was given.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from hydra.core.utils import JobReturn
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from rnn_sweep.errors import UserError
from rnn_sweep.launch import worker
from rnn_sweep.launch.processes import packed_setup

IDLE_SECONDS = 5.0
"""How long an actor may wait for a job before it makes room for others."""
PASSED_ON = ("MLFLOW_", "PG", "RNN_SWEEP_")
"""Environment variables that begin so are the same in the jobs as in the sweep, on every node."""
_OF_THE_NODE = ("RAY_", "CUDA_", "OMP_", "TORCHINDUCTOR_")
"""Those that are not passed on, whoever has set them."""
_LOOK_SECONDS = 0.5

_Job: TypeAlias = "tuple[Future[JobReturn], list[str], int]"


@dataclass(frozen=True)
class Room:
    """What a job occupies in the cluster."""

    num_cpus: float = 1.0
    num_gpus: float = 0.0
    """May be a fraction: 0.25 puts four jobs on each GPU."""
    resources: Mapping[str, float] = field(default_factory=dict)
    """Ray's custom resources."""

    def check(self) -> None:
        """Raises ``UserError`` for a number that is negative, or too large for a cluster of this machine alone."""
        for key, value in {"num_cpus": self.num_cpus, "num_gpus": self.num_gpus, **self.resources}.items():
            if value < 0:
                raise UserError(f"hydra.launcher.{key} must be at least 0, got {value}")
        if self.num_gpus > 1 and self.num_gpus != int(self.num_gpus):
            raise UserError(f"hydra.launcher.num_gpus must be a whole number or less than 1, got {self.num_gpus}")


class Actor:
    """A worker process on some node; methods run in its main thread, one at a time."""

    def __init__(self, setup: bytes, home: str, environment: Mapping[str, str]) -> None:
        os.environ.update(environment)
        Path(home).mkdir(parents=True, exist_ok=True)
        os.chdir(home)
        worker.prepare(setup)

    def ready(self) -> bool:
        """Answers when the actor has found room."""
        return True

    def work(self, overrides: list[str], index: int) -> bytes:
        """See :func:`rnn_sweep.launch.worker.work`."""
        return worker.work(overrides, index)


def passed_on() -> Mapping[str, str]:
    """The environment variables that the sweep's jobs get: those by name, and what the program has set itself."""
    begun = set()
    with suppress(OSError):  # where there is no such file, those by name alone
        begun = set(Path("/proc/self/environ").read_bytes().split(b"\0"))
    own = {name: value for name, value in os.environ.items() if begun and os.fsencode(f"{name}={value}") not in begun}
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith(PASSED_ON) or (name in own and not name.startswith(_OF_THE_NODE))
    }


class RayPool:
    """``slots`` jobs in flight on the cluster that was joined by :func:`rnn_sweep.launch.ray_connect.connect`."""

    def __init__(self, context: HydraContext, task: TaskFunction, config: DictConfig, slots: int, room: Room) -> None:
        import ray

        self.slots = slots
        options = {"num_cpus": room.num_cpus, "num_gpus": room.num_gpus, "resources": dict(room.resources)}
        self._kind: Any = ray.remote(Actor).options(**options, max_restarts=0, max_task_retries=0)
        # Once into the object store, not once for each actor.
        self._arguments = (ray.put(packed_setup(context, task, config, "ray")), os.getcwd(), passed_on())
        self._waiting: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closed = self._killed = False
        self._actors: set[Any] = set()
        self._threads: list[threading.Thread] = []
        self.resize(slots)

    def resize(self, slots: int) -> None:
        """Have ``slots`` jobs in flight from now on; who submits no more than so many needs fewer actors, too."""
        self.slots = slots
        for n in range(len(self._threads), slots):
            thread = threading.Thread(target=self._serve, name=f"ray-slot-{n}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def submit(self, overrides: Sequence[str], index: int) -> Future[JobReturn]:
        """Run a job as soon as an actor is free; as :meth:`rnn_sweep.launch.processes.ProcessPool.submit`."""
        future: Future[JobReturn] = Future()
        with self._changed:
            self._waiting.append((future, list(overrides), index))
            self._changed.notify_all()
        return future

    def close(self, kill: bool = False) -> None:
        """Let the jobs finish and end the actors; with ``kill`` drop waiting jobs and end running ones at once."""
        import ray

        with self._changed:
            self._closed, self._killed = True, kill
            dropped = list(self._waiting) if kill else []
            if kill:
                self._waiting.clear()
            self._changed.notify_all()
        for future, _, _ in dropped:
            future.cancel()
            future.set_running_or_notify_cancel()
        if kill:
            for actor in list(self._actors):
                ray.kill(actor)
        for thread in self._threads:
            thread.join(timeout=worker.GRACE_SECONDS if kill else None)

    def _serve(self) -> None:
        """One slot: an actor where there are jobs, and one job after another for it."""
        actor = None
        while (left := self._jobs_left()) is not None:
            if left and actor is None:
                actor = self._start()
            elif not left or ((job := self._take()) is not None and not self._run(actor, *job)):
                self._end(actor)
                actor = None
        self._end(actor)

    def _jobs_left(self) -> bool | None:
        """Wait for a job to be there: False when there was none for a while, None when there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed, timeout=IDLE_SECONDS)
            return True if self._waiting else None if self._closed else False

    def _take(self) -> _Job | None:
        with self._changed:
            return self._waiting.popleft() if self._waiting else None

    def _start(self) -> Any:
        """Start an actor and wait until it has found room; None when it is no longer needed, or died."""
        import ray

        actor = self._kind.remote(*self._arguments)
        self._actors.add(actor)
        ready = actor.ready.remote()
        while not ray.wait([ready], timeout=_LOOK_SECONDS)[0]:
            if not self._waiting or self._killed:
                self._end(actor)
                return None
        try:
            ray.get(ready)
        except ray.exceptions.RayActorError:  # its node has gone
            self._end(actor)
            return None
        return actor

    def _end(self, actor: Any) -> None:
        import ray

        if actor is not None:
            self._actors.discard(actor)
            ray.kill(actor)

    def _run(self, actor: Any, future: Future[JobReturn], overrides: list[str], index: int) -> bool:
        """Run a job; False when the actor is gone."""
        import ray

        if not future.set_running_or_notify_cancel():
            return True
        try:
            result = worker.unpack(ray.get(actor.work.remote(overrides, index)))
        except ray.exceptions.RayActorError as error:
            future.set_exception(BrokenExecutor(_cause(error)))
            return False
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(result)
        return True


def room_for(room: Room) -> int:
    """Jobs that the cluster has room for now, at least 1."""
    import ray

    total: Mapping[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    needs = {"CPU": room.num_cpus, "GPU": room.num_gpus, **room.resources}
    return max(1, min((int(total.get(name, 0) / need) for name, need in needs.items() if need), default=1))


def _cause(error: Exception) -> str:
    """One line out of Ray's paragraph."""
    import ray

    if isinstance(error, ray.exceptions.ActorUnavailableError):
        return "its worker is out of reach: the node was lost, or the network"
    text = " ".join(str(error).split())
    return (
        "its node died" if "node died" in text or "node has died" in text else f"its worker process died: {text}"[:300]
    )
