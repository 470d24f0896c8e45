"""A population's next segment: a pure function of the study's trials, so that whoever goes on decides the same.

A segment is a trial: one member from one generation's epoch to the next. Its attribute :data:`SEGMENT_ATTR` says whose
it is and from which trial's checkpoint it starts. What a member does next is decided when a slot is free for it, from
what is known then (asynchronous, as in Jaderberg et al. 2017, arXiv:1711.09846): nobody waits for the slowest.
"""

from __future__ import annotations

import math
import random
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from rnn_sweep.sweep.evolution import Evolution
from rnn_sweep.sweep.space.parameters import Param, Space, bare
from rnn_sweep.sweep.study import SURPLUS_ATTR
from rnn_sweep.trial import RETRY_ATTR, SEGMENT_ATTR

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


Known: TypeAlias = "Mapping[tuple[int, int], FrozenTrial]"
"""Segments by member and generation."""


@dataclass(frozen=True)
class Next:
    """A segment to be trained."""

    params: Mapping[str, Any]
    attribute: Mapping[str, Any]
    """:data:`SEGMENT_ATTR`."""


@dataclass(frozen=True)
class Population:
    """Decides for all members.

    Args:
        evolution: how.
        space: what is searched.
        maximize: whether a higher score is better.
        seed: what random choices derive from.
    """

    evolution: Evolution
    space: Space
    maximize: bool
    seed: str

    def next(self, trials: Sequence[FrozenTrial], due: Sequence[int]) -> Next | None:
        """The segment that is trained next: of the members that can go on, one that is furthest behind.

        Args:
            trials: of the study.
            due: numbers of failed ones that are about to be tried again.

        Returns:
            None where nothing can be started now.
        """
        known = segments(trials)
        latest = [self._latest(known, member) for member in range(self.evolution.population)]
        for generation, member in sorted((generation, member) for member, generation in enumerate(latest)):
            if generation + 1 >= self.evolution.generations:
                continue
            if generation < 0:
                return self._first(member)
            own = known[member, generation]
            if own.state.is_finished() and own.number not in due:
                found = self._following(known, own)
                if found is not None:
                    return found
        return None

    def _latest(self, known: Known, member: int) -> int:
        return max((generation for each, generation in known if each == member), default=-1)

    def _first(self, member: int) -> Next:
        return Next(beginning(self.evolution, self.space, self.seed, member), self._attribute(member, 0, None))

    def _attribute(self, member: int, generation: int, source: FrozenTrial | None) -> dict[str, Any]:
        interval = self.evolution.interval
        return {
            "member": member,
            "generation": generation,
            "start": generation * interval,
            "until": (generation + 1) * interval,
            "source": None if source is None else source.number,
            "copied": None if source is None or place(source)[0] == member else place(source)[0],
            "keys": [bare(key) for key in self.evolution.mutable],
        }

    def _following(self, known: Known, own: FrozenTrial) -> Next | None:
        """What follows on a segment that has ended; None where that is not known yet, or never.

        It is compared with each member's latest score up to its own generation: one that lags behind and is better even
        so counts, one that is ahead counts by what it was. What is copied is of its own generation, so that every
        member has the same number of epochs.
        """
        member, generation = place(own)
        equals = sorted((t for (_, g), t in known.items() if g == generation and score(t) is not None), key=self._rank)
        latest = sorted(self._latest_scored(known, generation), key=self._rank)
        share = min(math.ceil(len(latest) * self.evolution.quantile), len(latest) // 2)
        generator = random.Random(f"{self.seed} {member} {generation + 1}")  # noqa: S311 - a search, not a secret
        source = own
        if score(own) is None:
            if not equals:
                return None  # others may come; if nobody does, the population has died out
            source = generator.choice(equals[: max(1, share)])
        elif own in latest[len(latest) - share :]:
            better = equals[: equals.index(own)][:share]
            source = generator.choice(better) if better else own
        params = dict(source.params)
        if source is not own:
            where = f"{self.seed} {member} {generation + 1}"
            params |= {key: self._changed(self.space.params[key], params[key], where) for key in self.evolution.mutable}
        return Next(params, self._attribute(member, generation + 1, source))

    def _latest_scored(self, known: Known, generation: int) -> Iterator[FrozenTrial]:
        """Of each member that has one the latest segment with a score, up to a generation."""
        for member in range(self.evolution.population):
            past = (known.get((member, each)) for each in range(generation, -1, -1))
            found = next((trial for trial in past if trial is not None and score(trial) is not None), None)
            if found is not None:
                yield found

    def _rank(self, trial: FrozenTrial) -> tuple[float, int]:
        value = score(trial) or 0.0
        return (-value if self.maximize else value, trial.number)

    def _changed(self, param: Param, value: Any, where: str) -> Any:
        """A value near ``value``, or any other one of the parameter."""
        generator = random.Random(f"{where} {param.key}")  # noqa: S311
        if generator.random() < self.evolution.resample_probability:
            return draw(param, where)
        return perturbed(param, value, generator.choice(self.evolution.perturb))


def beginning(evolution: Evolution, space: Space, seed: str, member: int) -> dict[str, Any]:
    """The parameters that a member begins with: those of a given point, else drawn."""
    drawn = {param.key: draw(param, f"{seed} {member} 0") for param in space.params.values()}
    return {**drawn, **(evolution.points[member] if member < len(evolution.points) else {})}


def beginnings(evolution: Evolution, space: Space) -> list[dict[str, Any]]:
    """Those of all members; without a seed in the settings they are an example."""
    return [beginning(evolution, space, evolution.seed, member) for member in range(evolution.population)]


def segments(trials: Sequence[FrozenTrial]) -> Known:
    """The trials that stand for each member and generation: the latest try of each."""
    again = {t.user_attrs[RETRY_ATTR] for t in trials if RETRY_ATTR in t.user_attrs}
    return {
        place(t): t
        for t in trials
        if SEGMENT_ATTR in t.user_attrs and t.number not in again and SURPLUS_ATTR not in t.user_attrs
    }


def repeats(number: int, trials: Sequence[FrozenTrial]) -> bool:
    """Whether a trial is a segment that an earlier one is, too: two sweepers asked at once, without a common lock."""
    begun = [t for t in trials if SEGMENT_ATTR in t.user_attrs and t.number <= number]
    own = begun[-1]
    fresh = [t for t in begun[:-1] if RETRY_ATTR not in t.user_attrs and SURPLUS_ATTR not in t.user_attrs]
    return RETRY_ATTR not in own.user_attrs and any(place(t) == place(own) for t in fresh)


def place(trial: FrozenTrial) -> tuple[int, int]:
    """Member and generation of a segment."""
    attribute = trial.user_attrs[SEGMENT_ATTR]
    return int(attribute["member"]), int(attribute["generation"])


def score(trial: FrozenTrial) -> float | None:
    """What a segment is compared by: the objective at its last epoch, or what it returned; None of one that failed."""
    if trial.state.name != "COMPLETE":
        return None
    steps = trial.intermediate_values
    return float(steps[max(steps)]) if steps else float(trial.values[0])


def draw(param: Param, where: str) -> Any:
    """A random value of a parameter; the same for the same ``where``."""
    import optuna

    seed = zlib.crc32(f"{where} {param.key}".encode())
    study: Any = None  # what this sampler draws depends on neither study nor trial
    sampler = optuna.samplers.RandomSampler(seed)
    return param.tidy(sampler.sample_independent(study, study, param.key, param.distribution))


def perturbed(param: Param, value: Any, factor: float) -> Any:
    """A value of a parameter near another one: a number times ``factor``, within its range; a choice's neighbour."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    dist: Any = param.distribution
    if isinstance(dist, CategoricalDistribution):
        choices = list(dist.choices)
        i = choices.index(value) + (1 if factor > 1 else -1)
        return choices[min(max(i, 0), len(choices) - 1)]
    moved = min(max(value * factor, dist.low), dist.high)
    if dist.step is not None:
        steps = round((moved - dist.low) / dist.step)
        before = round((value - dist.low) / dist.step)
        if steps == before:  # a factor near 1 of a small number
            steps += 1 if factor > 1 else -1
        most = round((dist.high - dist.low) / dist.step)
        moved = dist.low + min(max(steps, 0), most) * dist.step
    return int(moved) if isinstance(dist, IntDistribution) else param.tidy(float(moved))
