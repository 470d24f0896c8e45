"""``rnn_sweep.Run``: what a training function sees of its run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rnn_sweep.errors import UserError
from rnn_sweep.outcome import Outcome, State
from rnn_sweep.run.epochs import Epochs
from rnn_sweep.run.kept import Kept
from rnn_sweep.run.returned import Ended, number, outcome_of
from rnn_sweep.run.surroundings import Surroundings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rnn_sweep.run.segment import Segment

T = TypeVar("T")

_ENDS = (State.COMPLETE, State.DIVERGED)
"""What a function may say of its run; the others are what happens to it."""


class Run:
    """One run, as its training function sees it; made by :func:`rnn_sweep.main` and :func:`rnn_sweep.start_run`.

    ::

        net = run.keep(Net())
        for epoch in run.epochs(10):
            run.log({"train/loss": fit(net), "val/accuracy": score(net)})

    MLflow's run begins with the loop, or with the first method that needs it: what a function refuses before leaves no
    run behind.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        self._outcome: Outcome | None = None
        self._begin(surroundings)

    def _begin(self, surroundings: Surroundings) -> None:
        resume = surroundings.resume
        self._around = surroundings
        self._kept = Kept(resume["kept"] if resume else None, changed=bool(resume and resume.get("changed")))
        self._epochs = Epochs(surroundings, self._kept)
        self._final: dict[str, float] = {}

    def _enter(self, segment: Segment, resume: Mapping[str, Any] | None) -> None:
        """Begin a segment of a schedule, with the checkpoint of the one before."""
        if resume is not None:
            resume = {**resume, "changed": 0 < len(resume["history"]) == segment.start}
        self._begin(replace(self._around, segment=segment, resume=resume))

    def _is_followed(self) -> bool:
        """Whether another segment of the schedule follows on the one that the function has been through."""
        segment = self._around.segment
        over = segment is not None and len(self.history) >= segment.until and self._epochs.state is None
        return over and segment is not None and segment.followed

    @property
    def folder(self) -> Path:
        """The run's output folder."""
        return self._around.folder

    @property
    def seed(self) -> int:
        """The run's seed, with which ``random``, numpy and torch have been seeded."""
        return self._around.settings.seed

    @property
    def run_id(self) -> str | None:
        """MLflow's id of the run; None when tracking is off, or while its store does not answer."""
        return self._around.recording.record.run_id

    @property
    def tracking_uri(self) -> str | None:
        """MLflow's store with its credentials, for a client of one's own; None when tracking is off.

        Raises:
            UserError: the store does not answer.
        """
        from rnn_sweep.tracking.store import open_store

        config = self._around.settings.tracking
        return open_store(config).uri if config.enabled else None

    @property
    def parent_run_id(self) -> str | None:
        """MLflow's id of the sweep's run; None in a plain run."""
        return (self.trial or {}).get("parent_run_id")

    @property
    def trial(self) -> Mapping[str, Any] | None:
        """Which trial of which study this is: ``{study_name, number, …}``; None in a plain run."""
        return self._around.settings.trial

    @property
    def history(self) -> Sequence[Mapping[str, float]]:
        """The metrics of each epoch that has ended."""
        return self._epochs.history

    @property
    def state(self) -> State | None:
        """How the loop over epochs has ended, for what comes after it; None while it goes on."""
        return None if self._epochs.row is not None else self._epochs.state or State.COMPLETE

    @property
    def cause(self) -> str | None:
        """Why it ended early, in one line."""
        return self._epochs.cause

    @property
    def cores(self) -> int | None:
        """How many cores the run may use now, where others train in the same process; None leaves it to the run."""
        return self._around.seat.cores

    @property
    def stopping(self) -> bool:
        """Whether the run should end soon: after Ctrl-C, SIGTERM, or when its sweep is being stopped.

        :meth:`epochs` sees to it after each epoch; a long epoch may ask in between.
        """
        return self._epochs.stopping

    @property
    def outcome(self) -> Outcome:
        """How the run ended, for a function with ``start_run`` to return; not known within its block."""
        if self._outcome is None:
            raise UserError("run.outcome is known after the block of start_run, got asked within it")
        return self._outcome

    def share(self, make: Callable[..., T], *args: Any) -> T:
        """What ``make(*args)`` returns; made once for all runs that are trained side by side in one process.

        Args:
            make: such as a function that loads data; nobody may change what it returns.
            args: hashable.
        """
        return self._around.seat.share(make, *args)

    def keep(self, thing: T, name: str | None = None) -> T:
        """Save a thing with every epoch, and put it back where the run goes on after a kill or in a retry.

        Args:
            thing: with ``state_dict`` and ``load_state_dict`` (a module, an optimiser, a scheduler, …), or a plain
                value. Lists and dicts are saved as they are when the epoch ends.
            name: tells it from the others; else its type and position do.

        Returns:
            The thing; of a number or a text that was saved, the saved one.

        Raises:
            UserError: it has no state, or comes after the first epoch has begun.
        """
        if self._epochs.begun:
            raise UserError(f"run.keep must come before run.epochs, got {type(thing).__name__} after it")
        kept: T = self._kept.add(thing, name)
        return kept

    def epochs(self, total: int, *, steps: int | None = None) -> Epochs:
        """The numbers of the epochs, from 1 to ``total``; in a run that goes on, those that are left.

        After each epoch the metrics are recorded, shown and reported to the study, and a checkpoint is written. The
        loop ends early when the study prunes the trial, when the objective is NaN or infinite, on :attr:`stopping`, and
        by :meth:`end`; what comes after the loop is done in any case. Leaving the loop with ``break`` counts the epoch
        where something was logged in it, and what is then logged is still the epoch's; where somebody else owns the
        loop, ``close()`` of what this returns ends it.

        Args:
            total: how many.
            steps: optimiser steps in an epoch, for a progress bar that :meth:`step` moves.

        Raises:
            UserError: ``total`` or ``steps`` is no integer above 0, or the run has had a loop.
        """
        if isinstance(total, bool) or not isinstance(total, int) or total < 1:
            raise UserError(f"run.epochs: the number of epochs must be an integer of at least 1, got {total!r}")
        if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int) or steps < 1):
            raise UserError(f"run.epochs: steps must be an integer of at least 1 or None, got {steps!r}")
        if self._epochs.begun:
            raise UserError(f"run.epochs must be called once in a run, got another call, for {total} epochs")
        self._epochs.begin(total, steps)
        return self._epochs

    def step(self, n: int = 1) -> None:
        """Say that ``n`` optimiser steps of the epoch are done; a few times a second is enough."""
        self._epochs.steps(n)

    def end(self, state: State | str = State.COMPLETE, cause: str | None = None) -> None:
        """Let the loop over epochs end with the one under way.

        Args:
            state: ``complete`` (it need not train any longer) or ``diverged``. An epoch that diverged before anything
                of it was logged is not counted.
            cause: in one line.

        Raises:
            UserError: it is another state, or no epoch is under way.
        """
        if state not in _ENDS:
            known = " or ".join(each.value for each in _ENDS)
            raise UserError(f"run.end: the state must be {known}, got {getattr(state, 'value', state)!r}")
        if self._epochs.row is None:
            when = "after" if self._epochs.begun else "before"
            raise UserError(
                f"run.end must come within an epoch of run.epochs, got {State(state).value} {when} its loop"
            )
        self._epochs.wish(State(state), cause)

    def log(self, metrics: Mapping[str, Any]) -> None:
        """Log metrics: within an epoch those of the epoch, of which the last value counts; else those of the whole run.

        Raises:
            UserError: a value is no number, or the run has ended.
        """
        if self._outcome is not None:
            raise UserError(f"run.log must come before the run's end, got {', '.join(map(str, metrics))} after it")
        if not isinstance(metrics, Mapping):
            raise UserError(f"run.log takes a mapping of names to numbers, got {metrics!r:.100}")
        into = self._final if self._epochs.row is None else self._epochs.row
        into.update({str(name): number(f"run.log: {name}", value) for name, value in metrics.items()})

    def tag(self, tags: Mapping[str, str]) -> None:
        """Tag the run in MLflow, and in ``result.json``. Raises :class:`UserError` where it gets no mapping."""
        if not isinstance(tags, Mapping):
            raise UserError(f"run.tag takes a mapping of names to texts, got {tags!r:.100}")
        self._around.recording.tag({str(name): str(value) for name, value in tags.items()})

    def log_dataset(self, dataset: Mapping[str, str]) -> None:
        """Record what the run is trained on, by the fields of ``mlflow.entities.Dataset``.

        Args:
            dataset: ``name``, ``digest``, ``source_type``, ``source``, and ``profile`` where there is one.

        Raises:
            UserError: one of them is missing.
        """
        needed = ("name", "digest", "source_type", "source")
        if not isinstance(dataset, Mapping) or any(name not in dataset for name in needed):
            raise UserError(f"run.log_dataset takes a mapping of {', '.join(needed)}, got {dataset!r:.100}")
        self._around.recording.record.log_dataset(dataset)

    def artifact(self, path: str | Path) -> None:
        """Record a file or a folder with the run, as it is when the store takes it.

        Raises:
            UserError: it is not there.
        """
        found = Path(path) if isinstance(path, str | Path) else None
        if found is None or not found.exists():
            raise UserError(f"run.artifact must get a file or folder that is there, got {str(path)!r}")
        self._around.recording.record.log_file(found.absolute())

    def figure(self, figure: Figure, name: str) -> None:
        """Save a matplotlib figure as ``name`` (``.png`` where it has no ending) in the run's folder, and record it.

        Raises:
            UserError: it is no figure.
        """
        if not hasattr(figure, "savefig"):
            raise UserError(f"run.figure must get a figure of matplotlib, got {type(figure).__name__}")
        path = self.folder / name
        path = path if path.suffix else path.with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
        self.artifact(path)

    def log_model(self, model: Any, example: Any = None) -> None:
        """Record a torch module as the run's MLflow model, which ``mlflow.pytorch.load_model`` loads.

        Args:
            model: the module.
            example: an input, from which the shapes of inputs and outputs are noted.

        Raises:
            UserError: it is no module.
        """
        import torch

        if not isinstance(model, torch.nn.Module):
            raise UserError(f"run.log_model must get a torch.nn.Module, got {type(model).__name__}")
        self._around.recording.record.log_module(model, example, len(self.history))

    def _conclude(self, returned: Any) -> Outcome:
        """The outcome of a function that has returned."""
        epochs = self._epochs
        epochs.close()
        state = None if epochs.state is State.COMPLETE else epochs.state
        ended = Ended(epochs.history, self._final, state, epochs.cause, epochs.seconds)
        required = "number" in (self.trial or {})
        return outcome_of(returned, self._around.settings.objective, ended, required=required)
