"""A newcomer's way in: CONTRIBUTING names every room, and a question's own words lead to the file that answers it."""

from __future__ import annotations

import ast
import re
from collections import Counter
from math import log

import pytest

from tests.conftest import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
QUESTIONS = re.findall(r"^\| ([^|]+\?) \| `([^`]+)` \|$", TEXT, re.MULTILINE)
PACKAGE = ROOT / "rnn_sweep"
_COMMON = re.compile(
    r"\b(a|an|and|are|as|by|do|does|for|from|how|in|is|it|of|on|or|that|the|to|what|where|which|with)\b"
)


def words(text: str) -> set[str]:
    """Stems, roughly: without common words and endings."""
    found = re.findall(r"[a-z]+", _COMMON.sub(" ", text.lower().replace("ctrl-c", "ctrlc")))
    return {re.sub(r"(ies|s|ed|ing|e)$", "", word) for word in found}


def modules() -> dict[str, set[str]]:
    """Words of each module's path and of its docstring's first line, which are all that a newcomer skims."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        place = str(path.relative_to(ROOT))
        found[place] = words(f"{place.removesuffix('.py')} {doc.splitlines()[0] if doc else ''}")
    return found


MODULES = modules()
RARITY = {w: log(len(MODULES) / n) for w, n in Counter(w for known in MODULES.values() for w in known).items()}


def test_there_are_twelve_questions() -> None:
    assert len(QUESTIONS) >= 12


@pytest.mark.parametrize(("question", "file"), QUESTIONS)
def test_a_question_leads_to_its_file(question: str, file: str) -> None:
    asked = words(question)
    score = {place: sum(RARITY[word] for word in asked & known) for place, known in MODULES.items()}
    first = sorted(score, key=lambda place: -score[place])[:3]
    assert first[0] == file, [(place, sorted(asked & MODULES[place])) for place in first]


def test_every_room_is_in_the_table() -> None:
    rooms = [path for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()]
    named = [room.name for room in rooms if not room.name.startswith("__") and f"{room.name}" not in TEXT]
    assert named == []


def test_every_module_says_in_one_line_what_it_holds() -> None:
    long = []
    for path in PACKAGE.rglob("*.py"):
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        if doc is None or not doc.splitlines()[0].endswith((".", "?", "!", "::")):
            long.append(str(path.relative_to(ROOT)))
    assert [place for place in long if "/project/" not in place] == []
