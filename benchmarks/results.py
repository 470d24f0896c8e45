"""Trains the rows of docs/results.md and writes the page.

    python benchmarks/results.py [ROW…] [--folder DIR] [-- OVERRIDE…]    train these rows, or all; write the page
    python benchmarks/results.py --page                                  write the page from the records alone

Rows are declared in ``results.yaml`` beside this file. What a row brought is kept as ``docs/results/ROW.json``, from
which alone the page is made. Overrides after ``--`` are for trying a row out; with ``--folder`` the records and the
page go there.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
HERE = Path(__file__).resolve().parent
PERCENT = ("test/accuracy",)
"""Metrics that the page shows in percent."""


@dataclass(frozen=True)
class Row:
    """One row as it is declared."""

    name: str
    what: str
    arguments: Sequence[str]
    metric: str
    naive: str | None = None
    published: Mapping[str, Any] | None = None

    def command(self, more: Sequence[str] = ()) -> str:
        """As a user types it."""
        return shlex.join(["python", "run.py", "-m", *self.arguments, *more])


@dataclass(frozen=True)
class Section:
    """Rows of one table."""

    title: str
    note: str
    metric: str
    naive: str | None
    """Metric of who looks at no sequence, where it is shown beside the row."""
    rows: Sequence[Row]


def declared() -> list[Section]:
    """The tables of the page, in order."""
    found = yaml.safe_load((HERE / "results.yaml").read_text())
    return [
        Section(
            title=section["title"],
            note=section["note"],
            metric=section["metric"],
            naive=section.get("naive"),
            rows=[Row(metric=section["metric"], naive=section.get("naive"), **row) for row in section["rows"]],
        )
        for section in found
    ]


def measure(row: Row, folder: Path, more: Sequence[str]) -> dict[str, Any]:
    """Train a row's runs in ``folder``; returns its record.

    Raises:
        SystemExit: the command failed, or a run ended other than complete.
    """
    now = datetime.datetime.now(datetime.timezone.utc)
    sweep = folder / "multirun" / "results" / row.name / f"{now:%Y-%m-%d_%H-%M-%S}"
    made_by = {"machine": machine(), "versions": versions()}
    start = time.perf_counter()
    line = [sys.executable, str(ROOT / "run.py"), "-m", *row.arguments, *more, f"hydra.sweep.dir={sweep}"]
    status = subprocess.run(line, cwd=folder, check=False).returncode
    seconds = time.perf_counter() - start
    results = [json.loads(path.read_text()) for path in sorted(sweep.glob("*/result.json"))]
    states = [result["state"] for result in results]
    if status or not states or set(states) != {"complete"}:
        raise SystemExit(f"{row.name}: nothing is recorded: exit status {status}, runs {states} in {sweep}")
    kept = ("epochs", "seconds", "metrics")
    return {
        "row": row.name,
        "command": row.command(more),
        "date": f"{now:%Y-%m-%d}",
        "seconds": round(seconds, 1),
        **made_by,
        "runs": [{"overrides": own(result)} | {key: result[key] for key in kept} for result in results],
    }


def own(result: Mapping[str, Any]) -> list[str]:
    """A run's overrides, without the one that names its sweep."""
    return [override for override in result["overrides"] if not override.startswith("trial=")]


def machine() -> dict[str, Any]:
    """What is about to train the row, and its load average: above zero, others use its cores as well."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    import torch

    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "load": round(os.getloadavg()[0], 1),
    }


def versions() -> dict[str, str]:
    """Commit, and whether its program has changed since, and libraries."""
    from rnn_sweep.provenance import version_tags

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "rnn_sweep", "conf", "run.py", "hydra_plugins")
    found = version_tags()
    return {
        "commit": git("rev-parse", "--short=10", "HEAD") + (" with changes" if changed else ""),
        "rnn_sweep": found["version.rnn_sweep"],
        "torch": found.get("version.torch", ""),
        "python": found["version.python"],
    }


def git(*arguments: str) -> str:
    """What git answers about this repository; empty where there is none."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def page(records: Path) -> str:
    """The page, from the declarations and the records."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from rnn_sweep.report.templates import code, markdown

    environment = Environment(  # noqa: S701 - Markdown
        loader=FileSystemLoader(HERE), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"md": markdown, "code": code}
    sources: list[str] = []
    sections, made = [], []
    for section in declared():
        rows = []
        for row in section.rows:
            record = read(records, row)
            rows.append(shown(row, record, sources))
            made += [how(row, record)] if record else []
        unit = ", %" if section.metric in PERCENT else ""
        heading = f"{section.metric.replace('/', ' ')}{unit}"
        head = {"title": section.title, "note": section.note, "heading": heading, "naive": section.naive is not None}
        sections.append({**head, "rows": rows})
    template = environment.get_template("results.md.j2")
    return template.render(sections=sections, made=made, sources=sources).rstrip() + "\n"


def read(records: Path, row: Row) -> dict[str, Any] | None:
    """A row's record; None where it was not run."""
    path = records / f"{row.name}.json"
    record: dict[str, Any] | None = json.loads(path.read_text()) if path.is_file() else None
    return record


def shown(row: Row, record: Mapping[str, Any] | None, sources: list[str]) -> dict[str, str]:
    """A row of its table; adds its source to ``sources``."""
    result = {"name": row.name, "what": row.what, "published": published(row, sources)}
    if record is None:
        return {**result, "ours": "not run", "naive": "", "time": "", "command": row.command()}
    values = [run["metrics"][row.metric] for run in record["runs"]]
    ours = f"**{spread(values, row.metric in PERCENT)}**"
    naive = [run["metrics"][row.naive] for run in record["runs"]] if row.naive else []
    level = spread([statistics.fmean(naive)], row.metric in PERCENT) if naive else ""
    minutes, seconds = divmod(round(record["seconds"]), 60)
    time_taken = f"{minutes}:{seconds:02d} min"
    return {**result, "ours": ours, "naive": level, "time": time_taken, "command": record["command"]}


def spread(values: Sequence[float], percent: bool) -> str:
    """Mean ± standard deviation of the sample."""
    mean = statistics.fmean(values)
    sd = statistics.stdev(values) if len(values) > 1 else None
    if percent:
        return f"{100 * mean:.2f}" + (f" ± {100 * sd:.2f}" if sd is not None else "")
    return f"{mean:.3g}" + (f" ± {sd:.1g}" if sd is not None else "")


def published(row: Row, sources: list[str]) -> str:
    """The published figure with the number of its source."""
    given = row.published
    if given is None:
        return ""
    text = f"[{given['source']}]({given['url']})" if "url" in given else given["source"]
    if not given["checked"]:
        text += ". Not checked: the figure was not read in the source itself."
    if text not in sources:
        sources.append(text)
    return f"{given['figure']} [{sources.index(text) + 1}](#sources)"


def how(row: Row, record: Mapping[str, Any]) -> dict[str, Any]:
    """How a row was made."""
    machine, versions = record["machine"], record["versions"]
    epochs = sorted({run["epochs"] for run in record["runs"]})
    device = machine["gpu"] or f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads"
    return {
        "name": row.name,
        "count": len(record["runs"]),
        "epochs": " to ".join(str(n) for n in ([epochs[0], epochs[-1]] if len(epochs) > 1 else epochs)),
        "machine": device,
        "load": machine["load"],
        "version": f"{versions['commit']}, torch {versions['torch']}",
        "date": record["date"],
    }


def main(argv: Sequence[str]) -> None:
    """See the module."""
    known = {row.name: row for section in declared() for row in section.rows}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(known)}; all where none is named")
    parser.add_argument("--page", action="store_true", help="train nothing")
    parser.add_argument("--folder", type=Path, help="where runs, records and page go")
    split = argv.index("--") if "--" in argv else len(argv)
    given, more = parser.parse_args(argv[:split]), argv[split + 1 :]
    unknown = [name for name in given.rows if name not in known]
    if unknown:
        parser.error(f"there is no row {unknown[0]!r}; there are {', '.join(known)}")
    if more and given.folder is None:
        parser.error("overrides after -- need --folder: the records of docs/results are those of the rows as declared")
    folder = ROOT if given.folder is None else given.folder.absolute()
    docs = ROOT / "docs" if given.folder is None else folder
    records = docs / "results"
    records.mkdir(parents=True, exist_ok=True)
    for name in [] if given.page else given.rows or known:
        record = measure(known[name], folder, more)
        (records / f"{name}.json").write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
        (docs / "results.md").write_text(page(records))
    (docs / "results.md").write_text(page(records))
    print(docs / "results.md")


if __name__ == "__main__":
    main(sys.argv[1:])
