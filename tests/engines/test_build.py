"""Compiling the native engine, with and without a compiler, and the wheel that carries it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rnn_sweep.engines.native import build, library
from tests.conftest import ROOT

from .stub import write_source


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source(tmp_path / "src")


@pytest.fixture
def no_zig(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ziglang" else find(name))


@pytest.mark.usefixtures("no_zig")
def test_without_a_compiler(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CXX", "g++ -m64")
    folder = source.parent / "lib"
    record = build.build(folder, source=source)
    assert record.failure == "no C++ compiler was found"
    assert [f.name for f in folder.iterdir()] == [build.RECORD]
    with pytest.raises(
        library.NativeUnavailable, match=r"was not built when .* installed: no C\+\+ compiler was found"
    ):
        library.best(folder, library.processor_flags())


@pytest.mark.usefixtures("no_zig")
def test_a_compiler_that_fails_leaves_its_words(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = source.parent / "bin" / "c++"
    compiler.parent.mkdir()
    compiler.write_text("#!/bin/sh\necho out of order >&2\nexit 3\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", str(compiler.parent))
    monkeypatch.delenv("CXX", raising=False)
    folder = source.parent / "lib"
    folder.mkdir()
    (folder / "x86-64-v3.so").write_text("of an earlier build")
    assert build.build(folder, source=source).failure == "the C++ compiler failed"
    assert "out of order" in (folder / build.LOG).read_text()
    assert sorted(f.name for f in folder.iterdir()) == [build.RECORD, build.LOG]
    with pytest.raises(library.NativeUnavailable, match=r"compiler failed \(its words are in '.*build\.log'\)"):
        library.best(folder, library.processor_flags())


@pytest.mark.slow
def test_the_next_compiler_is_tried(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real compilation after a compiler that fails: an installation must not end there."""
    monkeypatch.setenv("CXX", "false")
    folder = source.parent / "lib"
    only = build.SYSTEMS[build.HOST][1][0].name
    record = build.build(folder, source=source, only=only)
    assert record.failure is None
    assert list(record.compilers) == [only]
    assert "+ false" in (folder / build.LOG).read_text()
    assert build.Record.read(folder) == record


def test_a_folder_that_cannot_be_written(source: Path) -> None:
    with pytest.raises(OSError, match="lib"):
        build.build(source / "engine.cpp" / "lib", source=source)


def test_a_system_that_has_no_build(source: Path) -> None:
    assert (
        build.build(source.parent / "lib", "win32-AMD64", source=source).failure
        == "there is no build of it for win32-AMD64"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("system", "magic"),
    [
        pytest.param("linux-aarch64", b"\x7fELF", id="linux"),
        pytest.param("darwin-arm64", b"\xcf\xfa\xed\xfe", id="macos"),
    ],
)
def test_a_cross_build(source: Path, system: str, magic: bytes) -> None:
    """Libraries for Linux on aarch64 and for macOS are built here, of the right format."""
    record = build.build(source.parent / "lib", system, source=build.SOURCE)
    assert record.failure is None
    assert list(record.digests) == ["aarch64"]
    assert (source.parent / "lib" / "aarch64.so").read_bytes().startswith(magic)


def package(folder: Path, **variables: str) -> tuple[Path, Path]:
    """Build a wheel of the repository and install it.

    Returns:
        the wheel, and the folder that it is installed in.
    """
    copy = folder / "copy"
    unwanted = shutil.ignore_patterns("__pycache__", "lib", "build", "tests", "docs", ".*", "*.egg-info")
    shutil.copytree(ROOT, copy, ignore=unwanted)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    line = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder / "wheels"), str(copy)]
    subprocess.run(line, env={**os.environ, **variables}, check=True)
    (wheel,) = (folder / "wheels").iterdir()
    subprocess.run([*pip, "install", "--no-deps", "--target", str(folder / "site"), str(wheel)], check=True)
    return wheel, folder / "site"


def python(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python outside the repository, with the installed package instead of this one."""
    env = {k: v for k, v in os.environ.items() if k != library.VARIABLE} | {"PYTHONPATH": str(site)}
    return subprocess.run([sys.executable, *arguments], cwd=site.parent, env=env, capture_output=True, text=True)


@pytest.mark.slow
def test_a_wheel_loads_the_library(tmp_path: Path) -> None:
    """The compiled engine from a wheel, in an environment that has never seen the source."""
    wheel, site = package(tmp_path)
    assert "-py3-none-" in wheel.name
    assert not wheel.name.endswith("-any.whl")
    done = python(site, "-c", "from rnn_sweep.engines.native import library as n; print(n.load().path)")
    assert Path(done.stdout.strip()).is_relative_to(site), done.stderr
    assert "compiled by" in python(site, "-m", "rnn_sweep", "doctor").stdout


@pytest.mark.slow
def test_a_package_without_a_library_trains(tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "ziglang.py").write_text("raise SystemExit('no zig')")
    _, site = package(tmp_path, PATH="/nowhere", PYTHONPATH=str(tmp_path / "hidden"), CXX="")
    assert not list(site.rglob("*.so"))
    shutil.copytree(ROOT / "conf", tmp_path / "app" / "conf")
    done = python(site, shutil.copy(ROOT / "run.py", tmp_path / "app"), "experiment=smoke", "trainer.epochs=1")
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).count("the native engine was not built") == 1
