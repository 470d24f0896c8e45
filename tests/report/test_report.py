"""Reports of studies in every state that one can be in."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from rnn_sweep.report import summary
from rnn_sweep.report.replicates import replicates
from rnn_sweep.report.stats import gather
from rnn_sweep.report.write import Report, write
from rnn_sweep.sweep import steering, study_metadata
from rnn_sweep.sweep.results import Command

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")

COMMAND = Command(["-m", "hydra/sweeper=optuna", "a=interval(0,1)"], ["python", "run.py"])
SPACE = {"a": FloatDistribution(0, 1), "b": IntDistribution(1, 3), "c": CategoricalDistribution(["x", "y"])}


def trial(value: float | None, state: TrialState = TrialState.COMPLETE, steps: int = 0, **more: Any) -> FrozenTrial:
    params = more.pop("params", {"a": 0.5, "b": 2, "c": "x"})
    return create_trial(
        state=state,
        value=value,
        params=params,
        distributions={key: more.get("space", SPACE)[key] for key in params},
        intermediate_values={n: n / 10 for n in range(1, steps + 1)},
        user_attrs=more.get("attrs", {}),
    )


def spread(count: int, keys: str = "abc", steps: int = 4) -> list[FrozenTrial]:
    """Complete trials in which ``a`` matters and nothing else."""
    points = [{"a": n / count, "b": 1 + n % 3, "c": "xy"[n % 2]} for n in range(count)]
    return [trial(n / count, steps=steps, params={k: p[k] for k in keys}) for n, p in enumerate(points)]


def study_of(trials: list[FrozenTrial], directions: tuple[str, ...] = ("maximize",)) -> optuna.Study:
    study = optuna.create_study(study_name="s", directions=list(directions))
    study.add_trials(trials)
    return study


Make = Callable[[optuna.Study], tuple[Report, str, dict[str, Any]]]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a report; returns it, the page's text without scripts, and the figures in it."""

    def call(study: optuna.Study) -> tuple[Report, str, dict[str, Any]]:
        report = write(study, tmp_path / "out", COMMAND, "journal:///s.journal")
        page = Reader(report.page.read_text())
        return report, page.text, json.loads(page.figures or "{}").get("plots", {})

    return call


class Reader(HTMLParser):
    """A page's visible text, and the JSON of its figures."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.figures, self.scripts, self._inside = "", "", 0, ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag if tag != "script" else f"script {dict(attrs).get('id')}"
        self.scripts += tag == "script"

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script figures":
            self.figures += data
        elif not self._inside.startswith(("script", "style")):
            self.text += data


def test_reused_trials_are_marked_and_count_as_no_replicates(make: Make) -> None:
    again = spread(6)[5]
    again.user_attrs["reused"] = {"study": "s", "trial": 5}
    again.intermediate_values = {1: 0.1}
    report, text, _ = make(study_of([*spread(6), again]))
    assert "1 of them did not run: they are reused" in text
    assert "6 (reused)" in text
    assert "ran with one seed" in text
    assert "6 (reused)" in report.note


def test_a_study_with_everything(make: Make) -> None:
    pruned = [trial(0.1, TrialState.PRUNED, steps=1, attrs={"state": "pruned"}) for _ in range(3)]
    ended = [*pruned, trial(None, TrialState.PRUNED, attrs={"state": "diverged"})]
    failed = [trial(None, TrialState.FAIL, attrs={"cause": "RuntimeError: so it was"})]
    report, text, figures = make(study_of([*spread(12), *ended, *failed]))
    for sentence in (
        "17 trials: 12 complete, 3 pruned, 1 diverged, 1 failed",
        "Trial 11 has the highest value, 0.916667, with a = 0.9167",
        "Judging by 12 complete trials, a mattered most",
        "Pruning saved 9 of 60 epochs (15%), counting 4",
        "RuntimeError: so it was",
        "ran with one seed",
    ):
        assert sentence in text
        assert sentence in report.note.replace("\\", "")
    wanted = {"history", "importances", "parallel_coordinate", "slice", "contour", "intermediate", "timeline"}
    assert set(figures) == wanted
    colours = [trace["line"]["color"] for trace in figures["intermediate"]["data"]]
    assert len(colours) == 15
    assert len(set(colours[:3])) == len(set(colours[3:])) == 1
    assert colours[0] != colours[-1], "what was pruned is told from what ran to its end"
    assert {p.name for p in report.pictures} == {"history.png", "importances.png", "slice.png", "intermediate.png"}
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in report.pictures)
    assert report.page.stat().st_size < 5e6
    crosses = figures["history"]["data"][-1]
    assert (crosses["x"], crosses["y"]) == ([12, 13, 14], [0.1, 0.1, 0.1]), "pruned trials, at their last report"
    assert not re.search("https?:|src=|href=", re.sub(r"<script.*?</script>", "", report.page.read_text(), flags=re.S))


PAGES = {
    "server": "http://127.0.0.1:5000",
    "run": "/#/experiments/1/runs/{run_id}/model-metrics?w=m",
    "command": "rnn-sweep ui",
}


def test_each_trial_opens_its_page(make: Make) -> None:
    study = study_of([trial(0.5, attrs={"run_id": "a1"}), trial(0.1, TrialState.PRUNED, attrs={"run_id": 'b"2'})])
    study.set_user_attr("pages", PAGES)
    report, text, _ = make(study)
    page = report.page.read_text()
    assert page.count('href="http://127.0.0.1:5000/#/experiments/1/runs/a1/model-metrics?w=m"') == 2, "also in all"
    assert page.count("runs/b%222/model-metrics") == 1
    assert "rnn-sweep ui" in text
    study.set_user_attr("pages", {**PAGES, "server": "javascript:alert(1)//"})
    assert "href=" not in re.sub(r"<script.*?</script>", "", make(study)[0].page.read_text(), flags=re.S)


def test_what_was_pruned_or_failed_is_listed(make: Make) -> None:
    pruned = trial(0.1, TrialState.PRUNED, steps=3, attrs={"cause": "pruned after epoch 3"})
    _, text, figures = make(study_of([pruned, trial(None, TrialState.FAIL, attrs={"cause": "it broke"})]))
    for words_ in ("pruned", "0.3", "pruned after epoch 3", "failed", "it broke"):
        assert words_ in text.partition("All trials")[2]
    assert "history" not in figures


def test_an_empty_study(make: Make) -> None:
    report, text, figures = make(study_of([]))
    assert "The study is empty" in text
    assert not figures
    assert not report.pictures
    assert "python run.py -m hydra/sweeper=optuna 'a=interval(0,1)' hydra.sweeper.study_name=s" in text


def test_a_study_with_failures_only(make: Make) -> None:
    failed = [trial(None, TrialState.FAIL, attrs={"cause": "it broke"}) for _ in range(2)]
    _, text, figures = make(study_of(failed))
    assert "2 trials: 2 failed" in text
    assert "No trial is complete and within the constraints" in text
    assert "The commonest cause of failure (2 of 2): it broke" in text
    assert set(figures) == {"timeline"}


def test_a_single_trial(make: Make) -> None:
    _, text, figures = make(study_of([trial(0.5)]))
    assert "1 trial: 1 complete" in text
    assert "Trial 0 has the highest value, 0.5" in text
    assert "importances" not in figures
    assert "Importances need at least five complete trials" in text


def test_a_space_of_one_parameter(make: Make) -> None:
    _, text, figures = make(study_of(spread(8, keys="a")))
    assert "The space has one parameter." in text
    assert {"slice", "history"} <= set(figures)
    assert not {"importances", "contour", "parallel_coordinate"} & set(figures)


def test_a_parameter_that_had_one_value(make: Make) -> None:
    """Warnings are errors here: Optuna would warn of it in every figure."""
    _, text, figures = make(study_of([trial(n / 6, params={"a": n / 6, "b": 1}) for n in range(6)]))
    assert "Only one parameter has had several values." in text
    assert "slice" in figures
    assert not {"contour", "parallel_coordinate"} & set(figures)
    _, text, figures = make(study_of([trial(n / 6, params={"a": 0.5, "b": 1}) for n in range(6)]))
    assert "No parameter has had several values." in text
    assert "slice" not in figures


def test_a_space_of_no_parameter_and_equal_values(make: Make) -> None:
    _, text, _ = make(study_of([trial(1.0, params={}) for _ in range(6)]))
    assert "too few parameters that vary" in text


def test_a_running_study(make: Make) -> None:
    study = study_of(spread(3))
    study.ask()
    _, text, _ = make(study)
    assert "4 trials: 3 complete, 1 running" in text
    assert "still running" in text


def test_who_steered_it_and_how(make: Make) -> None:
    study = study_of(spread(3))
    assert "Steering" not in make(study)[1]
    pause = steering.give(study, steering.PAUSE)
    steering.give(study, steering.EXTEND, trials=1, budget=3)
    _, text, _ = make(study)
    rows = text[text.index("Steering") : text.index("Provenance") if "Provenance" in text else None].split("\n")
    said = [row for row in rows if pause.by in row]
    assert [pause.time in said[0], "pause" in said[0], "1 more trial" in said[1], len(said)] == [True, True, True, 2]


def test_conditional_parameters(make: Make) -> None:
    some = [trial(n / 9, params={"a": n / 9, "b": 1 + n % 3} if n % 2 else {"a": n / 9}) for n in range(9)]
    _, text, figures = make(study_of(some))
    assert "slice" in figures
    assert "Only one parameter is common to all trials." in text


@pytest.mark.parametrize("count", [2, 3, 4])
def test_several_objectives(make: Make, count: int) -> None:
    points = [[n / 6, *([(6 - n) / 6] * (count - 1))] for n in range(6)]
    trials = [
        create_trial(values=values, params={"a": values[0], "b": 1 + i % 3}, distributions={k: SPACE[k] for k in "ab"})
        for i, values in enumerate(points)
    ]
    study = study_of(trials, ("maximize",) * count)
    study.set_metric_names([f"goal{i}" for i in range(count)])
    report, text, figures = make(study)
    assert "6 trials are on the Pareto front" in text
    assert ("pareto_front" in figures) == (count < 4)
    assert {f"history_{i}" for i in range(count)} <= set(figures)
    assert figures["history_1"]["layout"]["yaxis"]["title"]["text"] == "goal1"
    assert "Train the first of the front again" in report.note


def test_nothing_in_a_study_becomes_markup(make: Make) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    space = {"a": SPACE["a"], evil: CategoricalDistribution([evil, "y"])}
    trials = [trial(n / 9, params={"a": n / 9, evil: [evil, "y"][n % 2]}, space=space) for n in range(9)]
    failed = trial(None, TrialState.FAIL, params={}, attrs={"cause": evil, "run_id": evil})
    study = study_of([*trials, failed])
    study.set_metric_names([evil])
    study.set_user_attr(study_metadata.ATTR, {**RECORD, "space": {evil: evil}, "machine": evil})
    study.set_user_attr("pages", {**PAGES, "command": evil, "run": evil})
    report, text, figures = make(study)
    assert Reader(report.page.read_text()).scripts == 3, "the figures, the library, and what draws them"
    assert "onerror=alert(1)" in text
    assert "slice" in figures
    assert "<" not in report.note.replace("\\<", "").replace("`" + evil, "")


RECORD = {
    "conditions": {},
    "constraints": ["parameters <= 10"],
    "sampler": None,
    "sampler_seed": None,
    "pruner": "MedianPruner",
    "seed": 3,
    "source": {"mlflow.source.git.commit": "abc123", "mlflow.source.git.branch": "main", "git.dirty": "true"},
    "versions": {"torch": "2.14.1"},
    "machine": "Linux",
}


def test_how_it_was_made(make: Make) -> None:
    study = study_of(spread(3))
    study.set_user_attr(study_metadata.ATTR, {**RECORD, "space": {"a": "a float from 0 to 1"}})
    text = " ".join(make(study)[1].split())
    commit = "abc123 (main), with changes that are not in it"
    for words_ in ("a float from 0 to 1", commit, "torch 2.14.1", "TPESampler, none", "parameters <= 10"):
        assert words_ in text


def seeded(values: dict[float, list[float]]) -> list[FrozenTrial]:
    space = {"a": SPACE["a"], "seed": IntDistribution(1, 9)}
    return [
        trial(v, params={"a": a, "seed": seed}, space=space) for a, vs in values.items() for seed, v in enumerate(vs, 1)
    ]


def test_seeds_that_tell_the_winner_from_the_runner_up() -> None:
    found = replicates(seeded({0.1: [0.90, 0.91, 0.92], 0.2: [0.96, 0.97, 0.98]}), maximize=True)
    assert found is not None
    assert [group.params for group in found.groups] == [{"a": 0.2}, {"a": 0.1}]
    assert found.groups[0].mean == pytest.approx(0.97)
    assert found.groups[0].margin == pytest.approx(4.302653 * 0.01 / 3**0.5, rel=1e-5), "t(0.975, 2) times s / √n"
    assert found.p_value == pytest.approx(0.00180, abs=1e-4)
    assert found.distinguishable


def test_trials_of_several_replicates_bring_all_their_values(make: Make) -> None:
    trials = [
        trial(
            a,
            params={"a": a},
            attrs={"replicates": [{"seed": s, "values": [a + s / 100], "run_id": None} for s in range(3)]},
        )
        for a in (0.5, 0.9)
    ]
    found = replicates(trials, maximize=True)
    assert found is not None
    assert list(found.groups[0].values) == pytest.approx([0.9, 0.91, 0.92])
    assert found.distinguishable
    assert "Over 3 seeds the best configuration has 0.91 ±" in make(study_of(trials))[1]


@pytest.mark.parametrize(
    ("values", "answer"),
    [
        ({0.1: [0.90, 0.95], 0.2: [0.91, 0.96]}, "cannot be told from the runner-up"),
        ({0.1: [0.90], 0.2: [0.91, 0.96]}, "the runner-up did not run with several seeds"),
        ({0.1: [0.90, 0.91], 0.2: [0.99]}, "ran once: whether its lead"),
        ({0.1: [0.9, 0.9], 0.2: [0.9, 0.9]}, "cannot be told from"),
        ({0.1: [0.8, 0.8], 0.2: [0.9, 0.9]}, "is distinguishable from"),
        ({0.1: [0.8], 0.2: [0.9]}, "ran with one seed"),
    ],
)
def test_how_sure_the_winner_is(values: dict[float, list[float]], answer: str) -> None:
    assert answer in summary.summary(gather(study_of(seeded(values))))[-1]


@pytest.mark.slow
def test_a_thousand_trials_fit(make: Make) -> None:
    """A page of 1000 curves: its size, and that all of them are in it."""
    pruned = [trial(0.1, TrialState.PRUNED, steps=5) for _ in range(500)]
    report, _, figures = make(study_of([*spread(500, steps=10), *pruned]))
    assert report.page.stat().st_size < 5e6
    assert len(figures["intermediate"]["data"]) == 1000
