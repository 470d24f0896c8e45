"""Compile the native engine for each level of processor.

``setup.py`` calls :func:`build` when the package is installed; ``python rnn_sweep/engines/native/build.py`` does so by
hand, which ``--system`` makes a cross build. It runs before anything is installed: standard library only, and no import
of the package.

Every compiler and every level must give the same bits, so what is multiplied and added is what the source says:
``-ffp-contract=off`` (fused multiply-adds are written out), never ``-ffast-math``, never ``-march=native``, which would
bind an installation to the processor that it was made on. ``CXXFLAGS`` is not read for the same reason.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib.util
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path(__file__).with_name("src")
FOLDER = Path(__file__).with_name("lib")
RECORD = "build.json"
LOG = "build.log"

FLAGS = (
    *("-std=c++17", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fomit-frame-pointer"),
    *("-fno-exceptions", "-fno-rtti", "-fvisibility=hidden", "-shared", "-fPIC", "-pthread"),
)
# zig asks clang for undefined-behaviour traps unless told not to, and would link a C++ library that nothing here uses.
ZIG_FLAGS = ("-fno-sanitize=undefined", "-nostdlib++", "-s")
# The tuning of x86-64-v4 is that of the first Skylake servers: 512-bit vectors would be cut in halves.
WHOLE_VECTORS = "-mprefer-vector-width=512"


@dataclass(frozen=True)
class Variant:
    """One library: for one level of processor."""

    name: str
    """Its file without ``.so``."""
    zig: tuple[str, ...]
    """What zig takes to compile for that level, whatever the host is."""
    others: tuple[str, ...]
    """What gcc and clang take on a host of that architecture."""


X86 = (
    Variant("x86-64-v3", ("-mcpu=x86_64_v3",), ("-march=x86-64-v3",)),
    Variant("x86-64-v4", ("-mcpu=x86_64_v4", WHOLE_VECTORS), ("-march=x86-64-v4", WHOLE_VECTORS)),
    Variant(
        "x86-64-v4-bf16",
        ("-mcpu=x86_64_v4+avx512bf16", WHOLE_VECTORS),
        ("-march=x86-64-v4", "-mavx512bf16", WHOLE_VECTORS),
    ),
)
ARM = (Variant("aarch64", (), ()),)

# The variants of each system and zig's name for it: the oldest C library and macOS that torch still runs on.
SYSTEMS = {
    "linux-x86_64": ("x86_64-linux-gnu.2.17", X86),
    "linux-aarch64": ("aarch64-linux-gnu.2.17", ARM),
    "darwin-arm64": ("aarch64-macos.11.0", ARM),
}
HOST = f"{sys.platform}-{platform.machine()}"


def _run(command: Sequence[str], **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(  # noqa: S603
        command, env=environment, capture_output=True, encoding="utf-8", errors="replace", check=False
    )


@dataclass(frozen=True)
class Compiler:
    """A command that compiles C++."""

    command: tuple[str, ...]
    zig: bool = False

    @functools.cached_property
    def version(self) -> str:
        """The first line of ``--version``, such as ``clang version 22.1.8 (zig)``."""
        shown = _run([*self.command, "--version"]).stdout
        first = (shown.splitlines() or [shlex.join(self.command)])[0]
        return f"{first} (zig)" if self.zig else first


@dataclass(frozen=True)
class Record:
    """What a build made: ``build.json`` beside the libraries."""

    source: str
    """:func:`source_digest` at that time."""
    digests: dict[str, str] = field(default_factory=dict)
    """SHA-256 of each variant's file."""
    compilers: dict[str, str] = field(default_factory=dict)
    """The compiler that made it."""
    failure: str | None = None
    """Why there is no variant at all."""

    @classmethod
    def read(cls, folder: Path) -> Record:
        """Read the record of a library folder.

        Raises:
            OSError: there is none.
            ValueError: it is not a record.
        """
        try:
            record = cls(**json.loads((folder / RECORD).read_text(encoding="utf-8")))
            if isinstance(record.digests, dict) and isinstance(record.compilers, dict):
                return record
        except (TypeError, ValueError):
            pass
        raise ValueError(f"'{folder / RECORD}' is not the record of a build")


def source_digest(source: Path = SOURCE) -> str:
    """SHA-256 over the names and contents of all source files."""
    digest = hashlib.sha256()
    for file in sorted(source.iterdir()):
        if file.suffix in (".cpp", ".h"):
            digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def compilers(system: str = HOST) -> Iterator[Compiler]:
    """The compilers that are there, best first: ``$CXX`` is somebody's wish, zig is the same on every machine.

    Args:
        system: where another than the host's is built for, zig alone can.
    """
    wish = shlex.split(os.environ.get("CXX", "")) if system == HOST else []
    if wish and shutil.which(wish[0]):
        yield Compiler(tuple(wish))
    if importlib.util.find_spec("ziglang"):
        yield Compiler((sys.executable, "-m", "ziglang", "c++"), zig=True)
    if system == HOST:
        yield from (Compiler((found,)) for name in ("c++", "clang++", "g++") if (found := shutil.which(name)))


def build(
    folder: Path = FOLDER,
    system: str = HOST,
    *,
    source: Path = SOURCE,
    only: str | None = None,
    flags: Sequence[str] = (),
) -> Record:
    """Compile every variant of a system, each with the first compiler that manages; what cannot be built is left out.

    Args:
        folder: gets the libraries, ``build.json``, and ``build.log`` with the compilers' words where one failed.
        system: a key of :data:`SYSTEMS`; any other name ends as a record of a failure.
        source: folder of ``engine.cpp``.
        only: the one variant to build.
        flags: for the compiler, after all others.

    Raises:
        OSError: the folder cannot be written.
    """
    triple, variants = SYSTEMS.get(system, ("", ()))
    variants = tuple(v for v in variants if only in (None, v.name))
    candidates = list(compilers(system))
    record = Record(source_digest(source), failure=_failure(system, bool(variants), bool(candidates)))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".building-") as scratch:
        job = _Job(triple, source / "engine.cpp", Path(scratch), tuple(flags))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            results = list(pool.map(lambda variant: job.compile(variant, candidates), variants))
        for stale in (*folder.glob("*.so"), folder / LOG):
            stale.unlink(missing_ok=True)
        for variant, (compiler, _) in zip(variants, results, strict=True):
            if compiler:
                made = job.file(variant)
                record.digests[variant.name] = hashlib.sha256(made.read_bytes()).hexdigest()
                record.compilers[variant.name] = compiler.version
                made.replace(folder / made.name)  # a process that has loaded the old file keeps it
    if record.digests:
        record = Record(record.source, record.digests, record.compilers)
    if words := "\n".join(words for _, words in results if words):
        (folder / LOG).write_text(words, encoding="utf-8")
    (folder / RECORD).write_text(json.dumps(vars(record), indent=1), encoding="utf-8")
    return record


def _failure(system: str, known: bool, compiler: bool) -> str:
    if not known:
        return f"there is no build of it for {system}"
    return "the C++ compiler failed" if compiler else "no C++ compiler was found"


@dataclass(frozen=True)
class _Job:
    """What all variants of a build share."""

    triple: str
    source: Path
    scratch: Path
    flags: tuple[str, ...]

    def file(self, variant: Variant) -> Path:
        return self.scratch / f"{variant.name}.so"

    def compile(self, variant: Variant, candidates: Sequence[Compiler]) -> tuple[Compiler | None, str]:
        """Try one compiler after another.

        Returns:
            the one that managed, or None; and what those before it said.
        """
        words = ""
        for compiler in candidates:
            command = [*compiler.command, *FLAGS, *self._platform(compiler, variant), *self.flags]
            command += [str(self.source), "-o", str(self.file(variant))]
            # zig compiles parts of the C library for its cache, which would stay in the home folder.
            done = _run(command, ZIG_GLOBAL_CACHE_DIR=str(self.scratch), ZIG_LOCAL_CACHE_DIR=str(self.scratch))
            if done.returncode == 0:
                return compiler, words
            words += f"+ {shlex.join(command)}\n{done.stdout}{done.stderr}\n"
        return None, words

    def _platform(self, compiler: Compiler, variant: Variant) -> tuple[str, ...]:
        if compiler.zig:
            return (*ZIG_FLAGS, "-target", self.triple, *variant.zig)
        # The C++ library is not used and need not be there when the library is loaded.
        return (*variant.others, *(("-Wl,--as-needed",) if sys.platform == "linux" else ()))


def main() -> int:
    """Build, and say what was built."""
    parser = argparse.ArgumentParser(description="Compile the native engine.")
    parser.add_argument("--system", default=HOST, choices=SYSTEMS, help="default: this one")
    parser.add_argument("--into", type=Path, default=FOLDER, metavar="FOLDER", help="default: that of the package")
    parser.add_argument("--only", metavar="VARIANT", help="build no other variant")
    parser.add_argument("flags", nargs="*", help="for the compiler, after --")
    given = parser.parse_args()
    record = build(given.into, given.system, only=given.only, flags=given.flags)
    for name, compiler in record.compilers.items():
        print(f"{given.into / name}.so: {compiler}")
    if (log := given.into / LOG).exists():
        print(log.read_text(encoding="utf-8"), file=sys.stderr)
    if record.failure:
        print(f"error: the native engine was not built: {record.failure}", file=sys.stderr)
    return 1 if record.failure else 0


if __name__ == "__main__":
    sys.exit(main())
