"""Whatever space can be written, its trials' overrides are valid and mean what the sampler chose."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from rnn_sweep.sweep.space.grammar import parse_space
from rnn_sweep.sweep.space.parameters import Param, bare
from rnn_sweep.sweep.space.suggest import Suggester

WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=6) | st.sampled_from(
    ["null", "True", "1e-3", "a b", "a,b", "it's", "c:\\", "[1", "x=1", "${y}", "~", "nan", "A¹", ""]
)
REALS = st.floats(-1e9, 1e9)
SCALARS = st.none() | st.booleans() | st.integers() | REALS | WORDS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b_c", "7"]), inner, max_size=2),
    max_leaves=4,
)
CHOICES = st.lists(VALUES, min_size=1, max_size=4, unique_by=repr).map(
    lambda items: {"type": "categorical", "choices": items}
)
STEPPED = st.tuples(st.integers(-99, 99), st.floats(0, 99), st.sampled_from([0.1, 0.5, 3.0])).map(
    lambda each: {"type": "float", "low": each[0], "high": each[0] + each[1], "step": each[2]}
)
INTEGERS = st.tuples(st.integers(-99, 99), st.integers(0, 99), st.integers(1, 7)).map(
    lambda each: {"type": "int", "low": each[0], "high": each[0] + each[1], "step": each[2]}
)
NUMBERS = st.tuples(REALS, REALS).map(lambda ends: f"interval({min(ends)},{max(ends)})")
LOGS = st.tuples(st.floats(1e-9, 1), st.floats(1, 1e9)).map(lambda ends: f"tag(log,interval({ends[0]},{ends[1]}))")
STEPS = st.tuples(st.integers(-20, 20), st.integers(1, 30), st.sampled_from([0.1, 0.25, 0.001, 1, 3])).map(
    lambda each: f"range({each[0]},{each[0] + each[1] * each[2]},{each[2]})"
)
PARAMS = st.dictionaries(
    st.sampled_from(["a", "b.c", "+d", "++e", "g@h"]), CHOICES | INTEGERS | STEPPED | NUMBERS | LOGS | STEPS, min_size=1
)


def element(value: Any) -> Any:
    """A value as Hydra's parser represents it, without quotes."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [element(each) for each in value]
    if isinstance(value, dict):
        return {str(key): element(each) for key, each in value.items()}
    return value


def same(found: Any, expected: Any) -> bool:
    """Equal, and of the same type, all the way down: 1 is not true, nor 1.0."""
    return repr(element(found)) == repr(element(expected))


@settings(max_examples=200, deadline=None)
@example({"a": "interval(0.0,5e-324)"}, 0)  # a sampler of Optuna's own then chooses a number of numpy's
@given(PARAMS, st.integers(0, 99))
def test_the_overrides_of_a_trial_are_what_was_chosen(params: dict[str, Any], seed: int) -> None:
    space = parse_space(params, [], None)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    trial = study.ask()
    lines = Suggester(space, {}, OmegaConf.create()).overrides(trial)
    assert len(lines) == len(space.params)
    parsed = OverridesParser.create().parse_overrides(lines)
    for override, (key, param) in zip(parsed, space.params.items(), strict=True):
        assert not override.is_sweep_override()
        assert bare(override.get_key_element()) == bare(key)
        assert same(override.value(), wanted(param, params[key], trial.params[key]))


def wanted(param: Param, node: Any, label: Any) -> Any:
    """What was written in the space for the label that the study knows."""
    if not param.texts:
        return param.tidy(type(param.distribution.low)(label))  # type: ignore[attr-defined]
    return node["choices"][list(param.texts).index(label)]


class OfNumpy(optuna.samplers.RandomSampler):
    """Chooses numbers of numpy's."""

    def sample_independent(self, study: Any, trial: Any, name: str, distribution: Any) -> Any:
        value = super().sample_independent(study, trial, name, distribution)
        return np.asarray(value)[()]


def test_numbers_of_numpys_become_pythons() -> None:
    def custom(cfg: Any, trial: optuna.Trial) -> None:
        trial.suggest_float("c", 0.0, 1.0)
        trial.suggest_int("d", 1, 9)

    space = parse_space({"a": "interval(0.0,1.0)", "b": "range(1,9)"}, [], None)
    trial = optuna.create_study(sampler=OfNumpy(0)).ask()
    lines = Suggester(space, {}, OmegaConf.create(), custom).overrides(trial)
    values = {o.get_key_element(): o.value() for o in OverridesParser.create().parse_overrides(lines)}
    assert {key: type(value) for key, value in values.items()} == {"a": float, "b": int, "c": float, "d": int}
