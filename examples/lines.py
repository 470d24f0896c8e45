"""How many lines of each example are there for the sweep: ``python examples/lines.py``."""

import re
from pathlib import Path

HERE = Path(__file__).parent
EXAMPLES = ("own_loop", "lightning", "keras", "sklearn")
OURS = re.compile(r"\b(rnn_sweep|run|callback|fit\(run)\b")


def lines(example: str) -> int:
    """Lines of code that name the package, the run or its callback."""
    code = (HERE / example / "train.py").read_text().split('"""', 2)[2]
    return sum(OURS.search(line.partition("#")[0]) is not None for line in code.splitlines())


def table() -> str:
    rows = ["| example | lines for the sweep | lines in all |", "|---|---|---|"]
    for example in EXAMPLES:
        whole = len((HERE / example / "train.py").read_text().splitlines())
        place = (HERE / example).resolve().relative_to(HERE.parent)  # some are what `rnn-sweep init` copies
        rows.append(f"| [{example}](../{place}/train.py) | {lines(example)} | {whole} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
