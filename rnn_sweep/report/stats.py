"""Statistics of a study, as plain values. Pure."""

from __future__ import annotations

import collections
import datetime
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from rnn_sweep.report.replicates import Replicates, confirmations, replicates
from rnn_sweep.storage import quiet
from rnn_sweep.sweep import steering, study_metadata
from rnn_sweep.sweep import study as studies
from rnn_sweep.sweep.confirm import Confirmed, confirmed
from rnn_sweep.sweep.counts import Epochs, count_epochs, count_states
from rnn_sweep.sweep.hooks import PAGES_ATTR
from rnn_sweep.sweep.results import ranked, winners
from rnn_sweep.trial import CONFIRM_ATTR, RETRY_ATTR

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class Pages:
    """Pages of MLflow's UI; empty texts where the study does not know them."""

    server: str = ""
    path: str = ""
    """Of a run's page, with ``{run_id}`` in it."""
    command: str = ""
    """What starts the server, where it is none that is always there."""

    @classmethod
    def of(cls, study: Study) -> Pages:
        """Those that the study has noted; none that a browser would take for anything but an address."""
        known = study.user_attrs.get(PAGES_ATTR, {})
        server = str(known.get("server", ""))
        if not server.startswith(("http://", "https://")):
            return cls()
        return cls(server, str(known.get("run", "")), str(known.get("command", "")))

    def run(self, run_id: str) -> str:
        """The address of a run's curves; empty where it is not known."""
        return self.server + self.path.replace("{run_id}", quote(run_id, safe="")) if run_id and self.server else ""


@dataclass(frozen=True)
class Stats:
    """A study at one moment."""

    name: str
    directions: Sequence[str]
    """``maximize`` or ``minimize``, for each objective."""
    objectives: Sequence[str]
    """Their names; ``value`` where the application tells none."""
    counts: Mapping[str, int]
    """By state of :data:`rnn_sweep.sweep.counts.STATES`; zeros are left out, and trials that were tried again."""
    retried: int
    reused: int
    """Trials that took the outcome of an earlier run."""
    trials: Sequence[FrozenTrial]
    """All of them, also those tried again."""
    ranking: Sequence[FrozenTrial]
    """Complete trials, the best first; with several objectives the Pareto front."""
    best: FrozenTrial | None
    """The best one, or the first of the front."""
    epochs: Epochs | None
    """None where nothing was reported or no trial is complete."""
    importances: Mapping[str, float]
    """Of the first objective, the largest first, with a sum of 1; empty where there is too little to tell."""
    replicates: Replicates | None
    """Of confirmed configurations where there are some."""
    confirmed: Mapping[int, Confirmed]
    """By number of the trial that was confirmed, the best mean first."""
    causes: Sequence[tuple[str, int]]
    """Why trials failed, the commonest first."""
    started: datetime.datetime | None
    ended: datetime.datetime | None
    """When the latest trial ended; None while one runs."""
    sweep: Mapping[str, Any]
    """What :mod:`rnn_sweep.sweep.study_metadata` noted; empty for a study of another program."""
    orders: Sequence[tuple[str, str, str]]
    """How it was steered: when, by whom, what."""
    pages: Pages
    """Where a browser shows its runs."""

    @property
    def total(self) -> int:
        """Trials that count."""
        return sum(self.counts.values())

    @property
    def keys(self) -> list[str]:
        """Parameters, in the order in which they came up."""
        return list(dict.fromkeys(key for trial in self.trials for key in trial.params))

    @property
    def maximize(self) -> bool:
        """Direction of the first objective."""
        return self.directions[0] == "maximize"

    @property
    def first(self) -> FrozenTrial | None:
        """Trial 0 where it was given (the application's defaults, usually) and is complete."""
        given = [t for t in self.ranking if t.number == 0 and "fixed_params" in t.system_attrs]
        return given[0] if given and len(self.directions) == 1 else None


def gather(study: Study) -> Stats:
    """Read a study."""
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    counted = studies.counted(trials)
    best, sure = winners(study), confirmed(study)
    single = len(study.directions) == 1
    maximize = study.directions[0].name == "MAXIMIZE"
    complete = [t for t in counted if t.state is TrialState.COMPLETE]
    ran = [t for t in complete if studies.REUSED_ATTR not in t.user_attrs]  # the same seed twice says nothing of chance
    ended = [t.datetime_complete for t in trials if t.datetime_complete is not None]
    running = any(t.state is TrialState.RUNNING for t in trials)
    started = [t.datetime_start for t in trials if t.datetime_start is not None]
    failures = collections.Counter(str(t.user_attrs.get("cause", "")) for t in counted if t.state is TrialState.FAIL)
    return Stats(
        name=study.study_name,
        directions=[d.name.lower() for d in study.directions],
        objectives=_objectives(study),
        counts=count_states(trials),
        retried=sum(RETRY_ATTR in t.user_attrs for t in trials),
        reused=sum(studies.REUSED_ATTR in t.user_attrs for t in counted),
        trials=trials,
        ranking=ranked(study),
        best=best[0] if best else None,
        epochs=count_epochs(trials),
        importances=_importances(searched(study), complete),
        replicates=(confirmations(sure) or replicates(ran, maximize=maximize)) if single else None,
        confirmed={each.trial.number: each for each in sure},
        causes=[(cause, n) for cause, n in failures.most_common(3) if cause],
        started=min(started, default=None),
        ended=max(ended, default=None) if not running else None,
        sweep=study.user_attrs.get(study_metadata.ATTR, {}),
        orders=[(order.time, order.by, steering.words(order)) for order in steering.orders(study)],
        pages=Pages.of(study),
    )


def searched(study: Study) -> Study:
    """The study as far as it searched, trials by the same numbers: what confirms others is a failed trial here."""
    import optuna
    from optuna.trial import TrialState, create_trial

    trials = study.get_trials(deepcopy=False)
    if not any(CONFIRM_ATTR in trial.user_attrs for trial in trials):
        return study
    with quiet():
        copy = optuna.create_study(study_name=study.study_name, directions=study.directions)
        if study.metric_names is not None:
            copy.set_metric_names(study.metric_names)
        left_out = create_trial(state=TrialState.FAIL)
        copy.add_trials(left_out if CONFIRM_ATTR in trial.user_attrs else trial for trial in trials)
    return copy


def _objectives(study: Study) -> list[str]:
    names = study.metric_names
    if names is not None:
        return list(names)
    count = len(study.directions)
    return ["value"] if count == 1 else [f"value {i}" for i in range(count)]


def _importances(study: Study, complete: Sequence[FrozenTrial]) -> dict[str, float]:
    """Optuna's default measure; it needs two parameters that vary and a spread of values."""
    with _without_sklearn():
        from optuna.importance import get_param_importances

    values = {t.values[0] for t in complete}
    common = set.intersection(*(set(t.params) for t in complete)) if complete else set()
    varied = [key for key in common if len({t.params[key] for t in complete}) > 1]
    if len(complete) < MIN_TRIALS or len(values) < 2 or len(varied) < 2:
        return {}
    with importance_target(study) as target:
        found = get_param_importances(study, params=varied, target=target)
    return dict(sorted(found.items(), key=lambda item: -item[1]))


@contextmanager
def _without_sklearn() -> Iterator[None]:
    """Optuna's measures are one module; those that are not the default import scikit-learn, for more than a second."""
    if "sklearn" in sys.modules:
        yield
        return
    # Python's own sign for what is not to be imported.
    sys.modules["sklearn"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["sklearn"]


@contextmanager
def importance_target(study: Study) -> Iterator[Callable[[FrozenTrial], float] | None]:
    """What Optuna's measure takes for the first of several objectives; it takes low values for good ones."""
    sign = -1.0 if study.directions[0].name == "MAXIMIZE" else 1.0
    with quiet(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "PedAnovaImportanceEvaluator computes", UserWarning)  # which says just that
        yield None if len(study.directions) == 1 else lambda trial: sign * float(trial.values[0])


MIN_TRIALS = 5
"""Complete trials below which an importance would be a guess."""
