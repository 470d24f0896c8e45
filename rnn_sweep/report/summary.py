"""The summary of a study in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rnn_sweep.report import population
from rnn_sweep.report.stats import Stats
from rnn_sweep.report.templates import number
from rnn_sweep.sweep.replicates import CONFIDENCE
from rnn_sweep.sweep.space.parameters import bare
from rnn_sweep.terminal import duration


def summary(stats: Stats) -> list[str]:
    """Sentences: what happened, what is best and by how much, what mattered, what pruning saved, how sure it is."""
    return [
        *_what_happened(stats),
        *_what_is_best(stats),
        *population.sentences(stats),
        *_why(stats),
        *_pruning(stats),
        *_how_sure(stats),
    ]


def counts(stats: Stats) -> str:
    """Such as ``7 complete, 5 pruned``."""
    return ", ".join(f"{n} {state}" for state, n in stats.counts.items())


def settings(params: Mapping[str, Any]) -> str:
    """Such as ``model.layers = 2, optimizer.lr = 0.0081``."""
    return ", ".join(f"{bare(key)} = {value(v)}" for key, v in params.items())


def value(v: Any) -> str:
    """A parameter's value to read."""
    return f"{v:.4g}" if isinstance(v, float) else str(v)


def _what_happened(stats: Stats) -> Iterator[str]:
    if not stats.total:
        yield "The study is empty: no trial has been started."
        return
    noun = "trial" if stats.total == 1 else "trials"
    text = f"{stats.total} {noun}: {counts(stats)}"
    if stats.retried:
        text += f"; {stats.retried} of them tried another's parameters again after it was cut off"
    if stats.started and stats.ended:
        text += f"; {duration((stats.ended - stats.started).total_seconds())} from the first start to the last end"
    yield text + "."
    if stats.reused:
        yield (
            f"{stats.reused} of them did not run: they are reused, with the outcome of an earlier run of the same "
            "configuration."
        )
    if "running" in stats.counts:
        yield "The study is still running, or its sweeper died: this is what is known so far."
    if stats.causes:
        cause, n = stats.causes[0]
        yield f"The commonest cause of failure ({n} of {stats.counts['failed']}): {cause}."


def _what_is_best(stats: Stats) -> Iterator[str]:
    best = stats.best
    if best is None:
        if stats.total:
            yield "No trial is complete and within the constraints, so there is no best one."
        return
    if len(stats.directions) > 1:
        names = ", ".join(stats.objectives)
        yield f"{len(stats.ranking)} trials are on the Pareto front: none is better in all of {names}."
        return
    if best.number in stats.confirmed:
        yield _confirmed(stats)
        return
    word = "highest" if stats.maximize else "lowest"
    text = f"Trial {best.number} has the {word} {stats.objectives[0]}, {number(best.values[0])}"
    yield f"{text}, with {settings(best.params)}." if best.params else f"{text}."
    first = stats.first
    if first is not None and first.number != best.number:
        gain = abs(best.values[0] - first.values[0])
        before = number(first.values[0])
        yield f"That is {number(gain, 3)} better than trial 0, the settings given first, with {before}."
    elif first is not None and len(stats.ranking) > 1:
        yield "Those are the settings given first: the search found nothing better."


def _confirmed(stats: Stats) -> str:
    """What is best by its mean, once the best configurations were trained with more seeds."""
    (number_, best), *others = stats.confirmed.items()
    word = "highest" if stats.maximize else "lowest"
    text = (
        f"Of the {len(others) + 1} configurations that were confirmed with {len(best.values)} more seeds each, that of "
        f"trial {number_} has the {word} mean {stats.objectives[0]}, {number(best.mean)} ± {number(best.margin, 2)}"
    )
    searched = f" ({number(best.trial.values[0])} in the search)"
    return f"{text}{searched}, with {settings(best.trial.params)}."


def _why(stats: Stats) -> Iterator[str]:
    if not stats.importances:
        if stats.total:
            yield "There are too few complete trials, or too few parameters that vary, to say which of them matter."
        return
    (key, part), *rest = stats.importances.items()
    others = [(k, p) for k, p in rest if p >= 0.005]
    complete = stats.counts["complete"]
    text = f"Judging by {complete} complete trials, {bare(key)} mattered most (importance {part:.2f})"
    if others:
        text += ", then " + ", ".join(f"{bare(k)} ({p:.2f})" for k, p in others[:2])
    top = [t.params[key] for t in stats.ranking[: max(3, len(stats.ranking) // 5)] if key in t.params]
    if len(top) > 1 and len(stats.directions) == 1:
        text += f"; in the best {len(top)} trials it is {_spread(top)}"
    yield text + "."


def _spread(values: Sequence[Any]) -> str:
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values) and min(values) < max(values):
        return f"between {value(min(values))} and {value(max(values))}"
    return " or ".join(dict.fromkeys(value(v) for v in values))


def _pruning(stats: Stats) -> Iterator[str]:
    epochs = stats.epochs
    if epochs is not None and epochs.saved:
        total = epochs.saved + epochs.trained
        yield (
            f"Pruning saved {epochs.saved:,} of {total:,} epochs ({epochs.part:.0%}), "
            f"counting {epochs.whole} for a trial that runs to its end."
        )


def _how_sure(stats: Stats) -> Iterator[str]:
    found = stats.replicates
    if len(stats.directions) > 1 or len(stats.ranking) < 2:
        return
    if found is None:
        yield (
            "Every configuration ran with one seed, so a small lead may be chance: "
            "hydra.sweeper.confirm=3:5 trains the best ones again with several seeds to know."
        )
        return
    best = found.groups[0]
    if best.margin is None:
        yield "The configuration with the best mean ran once: whether its lead is more than chance is not known."
        return
    text = f"Over {len(best.values)} seeds the best configuration has {number(best.mean, 4)} ± {number(best.margin, 2)}"
    if found.distinguishable is None:
        yield f"{text} ({CONFIDENCE:.0%} interval); the runner-up did not run with several seeds."
        return
    verdict = "is distinguishable from" if found.distinguishable else "cannot be told from"
    runner_up = found.groups[1]
    yield (
        f"{text} ({CONFIDENCE:.0%} interval) and {verdict} the runner-up, "
        f"{number(runner_up.mean, 4)} over {len(runner_up.values)} (Welch's test, p = {found.p_value:.2g})."
    )
