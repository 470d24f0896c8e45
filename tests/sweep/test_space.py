"""The override grammar as a search space, as a table."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from rnn_sweep.errors import UserError
from rnn_sweep.quoting import quoted
from rnn_sweep.sweep.space.conditions import ordered, parse_conditions
from rnn_sweep.sweep.space.grammar import parse_space, read
from rnn_sweep.sweep.space.parameters import Param
from rnn_sweep.sweep.space.validate import check_points

DISTRIBUTIONS: list[tuple[str, BaseDistribution]] = [
    ("x=interval(0,1)", FloatDistribution(0.0, 1.0)),
    ("x=int(interval(1,5))", IntDistribution(1, 5)),
    ("x=tag(log,interval(0.001,1))", FloatDistribution(0.001, 1.0, log=True)),
    ("x=tag(log,int(interval(1,4)))", IntDistribution(1, 4, log=True)),
    ("x=range(1,5)", IntDistribution(1, 4)),
    ("x=range(5)", IntDistribution(0, 4)),
    ("x=range(5,1,-1)", IntDistribution(2, 5)),
    ("x=range(1,6,2)", IntDistribution(1, 5, step=2)),
    ("x=range(1,7,2)", IntDistribution(1, 5, step=2)),
    ("x=range(0.5,5.5,step=1)", FloatDistribution(0.5, 4.5, step=1.0)),
    ("x=range(0.1,0.4,0.1)", FloatDistribution(0.1, 0.3, step=0.1)),
    ("x=range(-1.0,1.0,step=1)", FloatDistribution(-1.0, 0.0, step=1.0)),
    ("x=float(range(1,3))", FloatDistribution(1.0, 2.0, step=1.0)),
    ("x=shuffle(range(1,3))", IntDistribution(1, 2)),
    ("x=tag(log,range(1,9))", IntDistribution(1, 8, log=True)),
    ("x=choice(1,2)", CategoricalDistribution([1, 2])),
    ("x=1,2", CategoricalDistribution([1, 2])),
    ("x=choice(a,'b c')", CategoricalDistribution(["a", "b c"])),
    ("x=choice(true,false)", CategoricalDistribution([True, False])),
    ("x=null,1.5", CategoricalDistribution([None, 1.5])),
    ("x=choice('1',1)", CategoricalDistribution(["1", 1])),
    ("x=choice([1,2],[3])", CategoricalDistribution(["[1,2]", "[3]"])),
    ("x=choice({a:1},{a:2})", CategoricalDistribution(["{a:1}", "{a:2}"])),
    ("x=choice(1,true)", CategoricalDistribution(["1", "true"])),
    ("x=shuffle(3,1)", CategoricalDistribution([3, 1])),
    ("+x=choice(1,2)", CategoricalDistribution([1, 2])),
    ("db@here=a,b", CategoricalDistribution(["a", "b"])),
]


@pytest.mark.parametrize(("line", "expected"), DISTRIBUTIONS)
def test_distribution(line: str, expected: BaseDistribution) -> None:
    param = read(line)
    assert isinstance(param, Param)
    assert param.distribution == expected
    assert param.key == line.partition("=")[0]


@pytest.mark.parametrize("line", [line for line, _ in DISTRIBUTIONS])
def test_every_corner_is_an_override_of_that_value(line: str) -> None:
    param = read(line)
    assert isinstance(param, Param)
    if param.texts:
        assert [param.override(v) for v in param.corners()] == [f"{param.key}={t}" for t in param.texts.values()]
    for value in param.corners():
        override = OverridesParser.create().parse_override(param.override(value))
        assert not override.is_sweep_override()
        if not param.texts:
            assert override.value() == value
            assert type(override.value()) is type(value)


def test_choices_keep_their_types() -> None:
    param = read("x=choice('1',1,'true',true,'a b',[1,'2'])")
    assert isinstance(param, Param)
    values = [OverridesParser.create().parse_override(f"x={text}").value() for text in param.texts.values()]
    assert values == ["1", 1, "true", True, "a b", [1, "2"]]
    assert [type(v) for v in values] == [str, int, str, bool, str, list]


@pytest.mark.parametrize("line", ["x=5", "x=[1,2]", "x='a b'", "~x", "+x=1", "++x=1", "x=null", "x=${y}"])
def test_fixed(line: str) -> None:
    assert read(line) == line


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("x=interval(1,0)", "lower end must not exceed the upper one, got 1.0 and 0.0"),
        ("x=tag(log,interval(0,1))", "above 0, got 0.0"),
        ("x=interval(0,inf)", "finite"),
        ("x=range(3,3)", "at least one value"),
        ("x=range(1,5,0)", "at least one value"),
        ("x=tag(log,range(1,9,2))", "step 1"),
        ("x=choice(1,1)", "got 1 twice"),
        ("x=choice('a',a)", "got a twice"),
        ("x=tag(lgo,interval(0,1))", "did you mean 'log'"),
        ("x=tag(log,choice(1,2))", "choices have no scale"),
        ("x=choice(", "not a valid override"),
        ("x=interval(0,1),2", "cannot be mixed"),
        ("x=2,range(1,3)", "cannot be mixed"),
        ("x=choice(choice(1,2),3)", "cannot be mixed"),
        ("x=choice(a,b),c", "cannot be mixed"),
        ("x=[1,interval(0,1)]", "cannot be mixed"),
        ("x={a:{b:[choice(1,2)]}}", "cannot be mixed"),
        ("+x=[range(3)]", "cannot be mixed"),
        ("x=int(interval(1.5,4))", "whole ends"),
        ("x=tag(log,int(interval(start=1,end=4.5)))", "whole ends"),
        ("x=int(tag(log,interval(1.5,4)))", "whole ends"),
        ("x=float(int(interval(0.5,4)))", "whole ends"),
        ("x=int(interval(nan,4))", "not a valid override"),
    ],
)
def test_mistakes(line: str, words: str) -> None:
    with pytest.raises(UserError) as info:
        read(line)
    assert words in str(info.value)


def test_command_line_over_yaml() -> None:
    params = {"x": "interval(0,1)", "y": 3, "z": "choice(a,b)", "+w": "range(3)", "n": None, "b": True}
    space = parse_space(params, ["x=2", "z=choice(c,d)", "w=1", "~y"], None)
    assert list(space.params) == ["z"]
    assert list(space.params["z"].texts) == ["c", "d"]
    assert space.fixed == ["n=null", "b=True", "x=2", "w=1", "~y"]


def test_distributions_spelt_out_include_both_ends() -> None:
    params = {
        "a": {"type": "float", "low": 0, "high": 1, "step": 0.5},
        "b": {"type": "int", "low": 1, "high": 8, "log": True},
        "c": {"type": "categorical", "choices": ["u", 2]},
    }
    space = parse_space(params, [], None)
    assert space.params["a"].distribution == FloatDistribution(0.0, 1.0, step=0.5)
    assert space.params["b"].distribution == IntDistribution(1, 8, log=True)
    assert space.params["c"].override("u") == "c=u"


@pytest.mark.parametrize(
    "node", [{"type": "float", "low": 1}, {"type": "real", "low": 0, "high": 1}, {"type": "int", "lo": 1}]
)
def test_distributions_spelt_wrong(node: dict[str, object]) -> None:
    with pytest.raises(UserError, match=r"hydra\.sweeper\.params\.a"):
        parse_space({"a": node}, [], None)


def test_the_same_key_twice_on_the_command_line() -> None:
    with pytest.raises(UserError, match="twice"):
        parse_space({}, ["x=interval(0,1)", "+x=2"], None)


def test_no_float_noise() -> None:
    param = read("x=range(0.1,1,0.1)")
    assert isinstance(param, Param)
    assert param.tidy(0.1 + 2 * 0.1) == 0.3
    assert param.override(param.tidy(0.30000000000000004)) == "x=0.3"


@example("${a}")
@example("\\${a}")
@example("it's ${oc.env:HOME}\\")
@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs", "Cc"))))
def test_quoted_text_is_read_back_as_itself(text: str) -> None:
    value = OverridesParser.create().parse_override(f"x={quoted(text)}").value()
    assert OmegaConf.create({"x": value}).x == text


def test_conditions_come_after_what_they_depend_on() -> None:
    space = parse_space({"c": "range(3)", "b": "interval(0,1)", "a": "choice(u,v)"}, [], None)
    conditions = parse_conditions({"c": "b=interval(0.5,1)", "b": ["a=u"]}, space)
    assert [p.key for p in ordered(space, conditions)] == ["a", "b", "c"]
    assert conditions["c"][0].allows(0.7)
    assert not conditions["c"][0].allows(0.2)
    assert not conditions["b"][0].allows("v")


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"aa": "b=1"}, "did you mean 'a'"),
        ({"a": "b"}, "must look like key=value"),
        ({"a": "b=1", "b": "a=1"}, "circle"),
    ],
)
def test_wrong_conditions(node: dict[str, str], words: str) -> None:
    space = parse_space({"a": "range(3)", "b": "range(3)"}, [], None)
    with pytest.raises(UserError, match=words):
        ordered(space, parse_conditions(node, space))


def test_points_to_enqueue() -> None:
    space = parse_space({"a": "choice(u,2,true)", "+b": "interval(0,1)"}, [], None)
    assert check_points([{"a": "u", "b": 1}, {"a": True}], space) == [{"a": "u", "+b": 1.0}, {"a": True}]
    for wrong in ({"c": 1}, {"a": "v"}, {"b": 2}, {"b": "x"}):
        with pytest.raises(UserError, match=r"hydra\.sweeper\.enqueue\[0\]"):
            check_points([wrong], space)
