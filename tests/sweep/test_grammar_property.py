"""Whatever composition of Hydra's override grammar is typed, our space holds the values that Hydra's parser says."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString, Sweep
from hydra.errors import HydraException
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig

from rnn_sweep.errors import UserError
from rnn_sweep.sweep.grid import MOST_JOBS, check_countable
from rnn_sweep.sweep.space import numbers
from rnn_sweep.sweep.space.grammar import read
from rnn_sweep.sweep.space.parameters import Param
from tests.sweep.inprocess import InProcess

NUMBER = st.integers(-9, 9).map(str) | st.sampled_from(["0.5", "-1.5", "2.25", "1e1", "0.1"])
SCALAR = NUMBER | st.sampled_from(["a", "b_c", "'a b'", "'3'", "true", "null", "''", "nan"])
CHOICE = st.lists(SCALAR, min_size=1, max_size=4).map(lambda items: f"choice({','.join(items)})")
SIMPLE = st.lists(SCALAR, min_size=2, max_size=4).map(",".join)
RANGE = st.lists(NUMBER, min_size=1, max_size=3).map(lambda items: f"range({','.join(items)})")
INTERVAL = st.tuples(NUMBER, NUMBER).map(lambda ends: f"interval({','.join(ends)})")
OUTER = st.sampled_from(
    ["int({})", "float({})", "str({})", "bool({})", "sort({})", "sort({},reverse=true)", "shuffle({})", "tag(log,{})"]
)


def wrapped(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Casts and orders around it, some deep."""
    return st.tuples(inner, st.lists(OUTER, max_size=3)).map(lambda each: _wrap(*each))


def _wrap(inner: str, outer: Sequence[str]) -> str:
    for form in outer:
        inner = form.format(inner)
    return inner


MIXED = st.lists(CHOICE | RANGE | INTERVAL | SCALAR, min_size=2, max_size=3).map(
    lambda items: [",".join(items), f"choice({','.join(items)})", f"[{','.join(items)}]", f"{{k:{items[0]}}}"]
)
LINES = wrapped(CHOICE | SIMPLE | RANGE | INTERVAL) | MIXED.flatmap(st.sampled_from)


def plain(value: Any) -> Any:
    return value.text if isinstance(value, QuotedString) else value


def hydras(line: str) -> list[Any] | None:
    """The values that Hydra's own grid would run; None where it refuses the line or it holds no single sweep."""
    try:
        override = OverridesParser.create().parse_override(line)
        if not override.is_sweep_override():
            return None
        return [plain(value) for value in itertools.islice(override.sweep_iterator(), 1000)]
    except (HydraException, ValueError, ArithmeticError):
        return None


def ours(param: Param) -> list[Any]:
    if param.texts:
        return [plain(OverridesParser.create().parse_override(f"x={text}").value()) for text in param.texts.values()]
    dist: Any = param.distribution
    step = dist.step or 1
    return [param.tidy(dist.low + i * step) for i in range(round((dist.high - dist.low) / step) + 1)]


def normal(values: Sequence[Any]) -> list[str]:
    """Ours are without float noise: 0.7, and not 0.7000000000000001."""
    return sorted({repr(round(value, 12) + 0.0 if isinstance(value, float) else value) for value in values})


def read_or_none(line: str) -> Param | str | None:
    """None where there is one message; any other exception is a fault."""
    try:
        return read(line)
    except UserError as error:
        message = str(error)
    assert "\n" not in message
    return None


@settings(max_examples=300, deadline=None)
@given(LINES)
def test_values_are_hydras_or_there_is_one_message(line: str) -> None:
    expected = hydras(f"x={line}")
    param = read_or_none(f"x={line}")
    if param is None:
        sweeps = expected is not None and any(isinstance(value, Sweep) for value in expected)
        assert not expected or sweeps or len({repr(v) for v in expected}) < len(expected) or "tag(log" in line
        return
    if isinstance(param, str):
        assert expected is None
        return
    if "interval" in line:
        dist: Any = param.distribution
        assert math.isfinite(dist.low)
        assert dist.low <= dist.high
        return
    assert expected is not None
    assert normal(ours(param)) == normal(expected)


@settings(max_examples=300, deadline=None)
@given(RANGE, st.lists(st.sampled_from(["int({})", "float({})"]), min_size=1, max_size=2))
def test_a_cast_around_a_range_means_what_the_installed_hydra_says(inner: str, casts: list[str]) -> None:
    """The very values, of the same types, and so are those that jobs are given."""
    line = f"x={_wrap(inner, casts)}"
    parse = OverridesParser.create().parse_override
    expected, param = hydras(line), read_or_none(line)
    if expected and isinstance(expected[-1], float):  # noise may carry Hydra 1.3 to the stop, which is excluded
        cast: Any = parse(line).value()
        stop = None if getattr(cast, "transformers", ()) else float(cast.stop)
        expected = [value for value in expected if stop is None or not math.isclose(value, stop, abs_tol=1e-12)]
    if not expected:
        assert param is None
        return
    assert isinstance(param, Param), line
    assert normal(ours(param)) == normal(expected)
    assert normal([plain(parse(param.override(value)).value()) for value in ours(param)]) == normal(expected)


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=6), st.sampled_from([1, 0.25]))
def test_numbers_that_are_cast_one_by_one(values: list[int], scale: float) -> None:
    """As from Hydra 1.4 on."""
    given_ = [value * scale for value in values]
    found = numbers.enumerated("x", given_)
    assert found == sorted(set(given_))
    step = numbers.common_step(found)
    if step is not None:
        assert [found[0] + i * step for i in range(len(found))] == found


def test_a_cast_range_has_so_many_values() -> None:
    assert numbers.common_step([0, 1, 3]) is None
    with pytest.raises(UserError, match="10,000 values, got more"):
        numbers.enumerated("x", itertools.count())


def task(cfg: DictConfig) -> float:
    return 0.0


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("x=interval(0,1)", "hydra/sweeper=optuna searches intervals"),
        ("x=interval(0,1),2", "cannot be mixed"),
        ("x=choice(choice(1,2),3)", "cannot be mixed"),
        ("x=range(0,1000000000)", "100,000 jobs"),
        ("x=range(0,5,0)", "x=range(0,5,0)"),
        ("x=int(range(0,5,0))", "x=int(range(0,5,0))"),
        ("x=range(0,5,0.0)", "x=range(0,5,0.0)"),
    ],
)
def test_a_grid_is_counted_first(in_process: InProcess, line: str, words: str) -> None:
    ended = in_process.run(task, {"x": 1}, "-m", "hydra/sweeper=grid", line)
    assert (ended.status, ended.err.count("\n")) == (2, 1)
    assert words in ended.err
    assert "Traceback" not in ended.err


def test_the_jobs_of_a_grid_are_a_product() -> None:
    parse = OverridesParser.create().parse_overrides
    check_countable(parse(["x=range(300)", "y=range(300)", "z=[1]", "w=a"]))
    with pytest.raises(UserError, match=f"{MOST_JOBS:,} jobs"):
        check_countable(parse(["x=range(400)", "y=range(400)"]))
