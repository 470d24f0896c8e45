"""Studies side by side: best over trials, epochs and wall time."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from rnn_sweep.report.convergence import Convergence, convergence
from rnn_sweep.report.side_by_side import Comparison, figure, write

START = datetime.datetime(2026, 1, 1)


def trial(value: float | None, at: tuple[float, float], steps: int = 2, **more: Any) -> FrozenTrial:
    """A trial that ran ``at`` seconds from and to; pruned without a value."""
    made = create_trial(
        state=TrialState.PRUNED if value is None else TrialState.COMPLETE,
        value=value,
        params={"a": more.get("a", at[0])},
        distributions={"a": FloatDistribution(0, 1000)},
        intermediate_values=dict.fromkeys(range(1, steps + 1), 0.5),
        user_attrs=more.get("attrs", {}),
    )
    made.datetime_start, made.datetime_complete = (START + datetime.timedelta(seconds=each) for each in at)
    return made


def read(name: str, trials: list[FrozenTrial], direction: str = "maximize") -> Convergence:
    study = optuna.create_study(study_name=name, direction=direction)
    study.add_trials(trials)
    return convergence(study, name)


def seeds(*values: float) -> dict[str, Any]:
    rows = [{"seed": n, "values": [value], "run_id": None} for n, value in enumerate(values)]
    return {"replicates": rows, **{f"steps.{n}": {"1": 0.1, "2": 0.2} for n in range(len(values))}}


def test_the_best_so_far_over_trials_epochs_and_the_time_that_trials_ran() -> None:
    together = [trial(0.2, (0, 10)), trial(None, (5, 8), steps=1), trial(0.3, (8, 12))]
    later = [trial(0.1, (100, 104)), trial(0.4, (104, 110), attrs={"reused": {"study": "s", "trial": 2}})]
    found = read("s", [*together, *later])
    assert [(s.trials, s.epochs, s.seconds, s.best) for s in found.steps] == [
        (1, 1, 8, None),
        (2, 3, 10, 0.2),
        (3, 5, 12, 0.3),
        (4, 7, 16, 0.3),
        (5, 7, 16, 0.4),
    ], "in the order of their ends; the pause does not count; what was reused cost nothing"
    assert found.best is not None
    assert found.best.numbers == [4]
    assert read("s", together, "minimize").steps[-1].best == 0.2


def test_seeds_count_as_one_configuration_that_may_fall_back() -> None:
    values = [(0.9, 1.0), (0.8, 2.0), (0.3, 1.0)]
    found = read("s", [trial(v, (n, n + 1), a=a) for n, (v, a) in enumerate(values)])
    assert [step.best for step in found.steps] == [0.9, 0.9, 0.8]
    replicated = read("r", [trial(0.5, (0, 1), attrs=seeds(0.4, 0.5, 0.6))])
    assert replicated.steps[0].epochs == 6, "those of each seed"
    assert replicated.steps[0].margin == pytest.approx(4.302653 * 0.1 / 3**0.5, rel=1e-5)


def test_what_is_said_and_shown(tmp_path: Path) -> None:
    high = read(
        "high", [trial(0.9, (0, 4), attrs=seeds(0.89, 0.90, 0.91)), trial(0.95, (4, 8), attrs=seeds(0.94, 0.95, 0.96))]
    )
    low = read("<low>", [trial(0.5, (0, 2), attrs=seeds(0.49, 0.50, 0.51))])
    empty = read("empty", [])
    both = Comparison([low, high])
    assert [s.label for s in both.ranking] == ["high", "<low>"]
    assert both.equal == {"trials": 1, "epochs": 6, "seconds": 2}
    said = " ".join(both.sentences())
    for words in (
        "high has the highest value, 0.95 ± 0.025 (3 seeds)",
        "is distinguishable from it",
        "After 1 trial each",
    ):
        assert words in said
    assert "After 2.0 s each" not in said, "one of them had nothing by then"
    assert dict(both.table())["best after 2.0 s"] == ["0.5 ± 0.025", "-"]
    page = write(both, tmp_path / "new", [("high", "here")], ["rnn-sweep compare"]).read_text()
    assert "<low>" not in page.replace("\\u003c", "<").partition("<script")[0]
    assert [trace["name"] for trace in figure(both.studies, "seconds")["data"]] == ["<low>"] * 3 + ["high"] * 3
    nothing = Comparison([empty, empty])
    assert list(nothing.sentences()) == ["No study has a complete trial within its constraints yet."]
    write(nothing, tmp_path, [], [])
    assert Comparison([empty, low]).equal == {}
    assert "high has found one as good. After 2 trials each, all are level" in " ".join(
        Comparison([high, high]).sentences()
    )
    assert "small lead may be chance" in " ".join(Comparison([read("a", [trial(1.0, (0, 1))]), low]).sentences())
