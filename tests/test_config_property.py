"""Any tree at all is a configuration, or is refused with one message."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from rnn_sweep.config import Config, parse, to_tree
from rnn_sweep.errors import UserError
from tests.test_config import composed

WORDS = st.sampled_from(
    ["relu", "lstm", "val/loss", "step", "cuda", "none", "${seed}", "${nope}", "???", "torch.optim.SGD"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS | st.just(10**309)
KEYS = (
    st.sampled_from(["cell", "name", "lr", "_target_", "_args_"]) | st.text(max_size=5) | st.integers() | st.booleans()
)
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))
PLACES = [
    (section, key)
    for section, node in to_tree(composed("optimizer=sgd", "scheduler=onecycle")).items()
    for key in (*(node if isinstance(node, dict) else ()), None, "new")
]
"""Sections with one of their keys, with None for the section itself, or with a key that it does not have."""


def answer(tree: Any) -> None:
    """Parse, and check what came of it."""
    refusal, config = "", None
    try:
        config = parse(tree)
    except UserError as error:
        refusal = str(error)
    if config is None:
        assert refusal
        assert refusal.isprintable()
        return
    assert isinstance(config, Config)
    assert parse(to_tree(config)) == config


@settings(max_examples=150, deadline=None)
@example([(("data", "val_size"), float("inf"))])
@example([(("data", "val_size"), float("nan"))])
@example([(("optimizer", "lr"), 10**309)])
@given(st.lists(st.tuples(st.sampled_from(PLACES), TREES), min_size=1, max_size=3))
def test_a_configuration_with_anything_in_it(changes: list[tuple[tuple[str, str | None], Any]]) -> None:
    tree = copy.deepcopy(DEFAULTS)
    for (section, key), value in changes:
        if key is None or not isinstance(tree.get(section), dict):
            tree[section] = value
        else:
            tree[section][key] = value
    answer(tree)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted({section for section, _ in PLACES})) | KEYS, TREES, max_size=8))
def test_any_mapping(tree: dict[Any, Any]) -> None:
    answer(tree)


DEFAULTS = to_tree(composed("optimizer=sgd"))
