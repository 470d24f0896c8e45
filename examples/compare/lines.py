"""How many lines each way takes beside the training function that everybody starts from.

``python examples/compare/lines.py`` prints the table of docs/compare.md. Counted are the lines of code, configuration
and commands that plain/ has not, added or changed; blank lines, comments and one-line docstrings are not.
"""

import difflib
from pathlib import Path

HERE = Path(__file__).parent
WAYS = {
    "ours": "rnn-sweep",
    "ray_tune": "Ray Tune",
    "optuna_hydra": "Optuna, MLflow and Hydra by hand",
    "wandb": "W&B sweeps",
    "lightning_hydra_template": "lightning-hydra-template",
}


def code(path: Path) -> list[str]:
    """The lines of a file that do something."""
    lines = [line.rstrip() for line in path.read_text().splitlines()] if path.is_file() else []
    return [line for line in lines if line.strip() and not line.strip().startswith(("#", '"""'))]


def written(before: Path, after: Path) -> int:
    """Lines of a file that were added or changed."""
    return sum(line.startswith("+ ") for line in difflib.ndiff(code(before), code(after)))


def counts(way: str) -> tuple[int, int, int]:
    """Lines of Python, of configuration and of commands that a way takes."""
    files = sorted(path for path in (HERE / way).rglob("*.*") if path.suffix in (".py", ".yaml", ".sh"))
    plain = HERE / "plain"
    of = {path.relative_to(HERE / way): written(plain / path.relative_to(HERE / way), path) for path in files}
    python = sum(n for path, n in of.items() if path.suffix == ".py")
    commands = sum(n for path, n in of.items() if path.suffix == ".sh")
    return python, sum(of.values()) - python - commands, commands


def table() -> str:
    rows = ["| | Python | configuration | commands |", "|---|---|---|---|"]
    for way, name in WAYS.items():
        rows.append(f"| [{name}](../examples/compare/{way}/train.py) | " + " | ".join(map(str, counts(way))) + " |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(f"plain/train.py has {len((HERE / 'plain' / 'train.py').read_text().splitlines())} lines; beside it:\n")
    print(table())
