"""Which library is loaded, and what is said where none can be."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rnn_sweep.engines.native import build, library
from rnn_sweep.engines.native.library import NEEDS, NativeUnavailable, best, wanted
from rnn_sweep.errors import UserError

from .stub import write_source

x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="only one variant on this architecture")

EVERYTHING = frozenset[str]().union(*NEEDS.values()) - {"asimd"} if platform.machine() == "x86_64" else NEEDS["aarch64"]
BEST = "x86-64-v4-bf16" if platform.machine() == "x86_64" else "aarch64"


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """The system's compiler, where there is one: it takes a tenth of zig's time."""
    with pytest.MonkeyPatch.context() as patch:
        if compiler := shutil.which("c++"):
            patch.setenv("CXX", compiler)
        yield


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library folder of the stub, every variant of this system."""
    folder = tmp_path_factory.mktemp("stub")
    record = build.build(folder / "lib", source=write_source(folder / "src"))
    assert not record.failure
    return folder / "lib"


@pytest.fixture
def folder(stub: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(stub, tmp_path / "lib"))


@pytest.fixture
def fresh(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """That folder as the package's own, nothing loaded yet."""
    monkeypatch.setattr(library, "FOLDER", folder)
    monkeypatch.setattr(library, "SOURCE", folder.parent / "no-source")
    monkeypatch.delenv(library.VARIABLE, raising=False)
    library._found.cache_clear()
    yield folder
    library._found.cache_clear()


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@x86
@pytest.mark.parametrize("name", ["x86-64-v3", "x86-64-v4", "x86-64-v4-bf16"])
def test_the_best_variant_that_the_processor_runs(folder: Path, name: str) -> None:
    found = best(folder, NEEDS[name])
    assert (found.target, found.path, found.bf16) == (name, folder / f"{name}.so", name.endswith("bf16"))


def test_this_processor_is_known() -> None:
    assert library.processor_flags()
    assert ("asimd" in library.processor_flags()) == (platform.machine() in ("aarch64", "arm64"))


@x86
def test_a_processor_that_is_too_small(folder: Path) -> None:
    with pytest.raises(NativeUnavailable, match=r"this processor lacks .*avx2.*fma") as caught:
        best(folder, frozenset({"sse2", "avx"}))
    assert "avx512" not in str(caught.value)


def test_a_folder_of_another_architecture(folder: Path) -> None:
    other = frozenset({"asimd"}) if platform.machine() == "x86_64" else NEEDS["x86-64-v3"]
    with pytest.raises(NativeUnavailable, match="this processor lacks"):
        best(folder, other)


@x86
@pytest.mark.parametrize("harm", [cut, Path.unlink, lambda file: file.write_text("no library")])
def test_a_broken_file_is_passed_over(
    folder: Path, harm: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    harm(folder / f"{BEST}.so")
    assert best(folder, EVERYTHING).target == "x86-64-v4"
    assert len(caplog.messages) == 1
    assert f"{BEST}.so" in caplog.messages[0]
    assert "reinstall the package" in caplog.messages[0]


def test_every_file_is_broken(folder: Path) -> None:
    for file in folder.glob("*.so"):
        cut(file)
    with pytest.raises(NativeUnavailable, match=f"{BEST}.so' is not the file that was built.*reinstall the package"):
        best(folder, EVERYTHING)


def test_a_library_of_another_version(tmp_path: Path) -> None:
    build.build(tmp_path / "lib", source=write_source(tmp_path / "src", abi=99), only=BEST)
    with pytest.raises(NativeUnavailable, match=f"version 99 of the interface, not {library.ABI}; reinstall"):
        best(tmp_path / "lib", EVERYTHING)


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(NativeUnavailable, match=r"build\.json' is missing; reinstall the package"):
        best(tmp_path / "lib", EVERYTHING)


@pytest.mark.parametrize("text", ["", "[]", "3", '{"source": "", "digests": 3}', '{"unknown": 1}'])
def test_a_record_that_is_none(folder: Path, text: str) -> None:
    (folder / build.RECORD).write_text(text)
    with pytest.raises(NativeUnavailable, match=r"build\.json' is not the record of a build; reinstall the package"):
        best(folder, EVERYTHING)


def test_a_source_that_has_changed_since(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_source(fresh.parent / "src")
    monkeypatch.setattr(library, "SOURCE", source)
    digest = json.loads((fresh / build.RECORD).read_text())["source"]
    assert build.source_digest(source) == digest
    best(fresh, EVERYTHING)
    (source / "more.h").write_text("// more")
    with pytest.raises(NativeUnavailable, match="older source; reinstall the package"):
        library.load()


def test_a_process_loads_once(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "processor_flags", lambda: EVERYTHING)
    with ThreadPoolExecutor(8) as pool:
        found = set(map(id, pool.map(lambda _: library.load(), range(32))))
    assert len(found) == 1
    shutil.rmtree(fresh)
    assert library.load().target == BEST


def test_a_process_without_stays_without(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "processor_flags", frozenset)
    for _ in range(2):
        with pytest.raises(NativeUnavailable, match="this processor lacks"):
            library.load()


@pytest.mark.parametrize("by_path", [False, True])
def test_a_variant_by_the_variable(fresh: Path, monkeypatch: pytest.MonkeyPatch, by_path: bool) -> None:
    smallest = "x86-64-v3" if platform.machine() == "x86_64" else BEST
    monkeypatch.setenv(library.VARIABLE, str(fresh / f"{smallest}.so") if by_path else smallest)
    found = library.load()
    assert (found.target, found.path) == (smallest, fresh / f"{smallest}.so")
    assert library.compiler(found)


def test_a_variable_that_cannot_be_used(folder: Path) -> None:
    text = folder / "text.so"
    text.write_text("no library")
    for wish, words in {
        "x86-64-v5": "known: .*x86-64-v4",
        str(text): "text.so",
        str(folder / "nothing.so"): "nothing.so",
        "/": "directory",
    }.items():
        with pytest.raises(UserError, match=f"^RNN_SWEEP_NATIVE.*{words}"):
            wanted(wish, folder, EVERYTHING)
    cut(folder / f"{BEST}.so")
    with pytest.raises(UserError, match=f"^RNN_SWEEP_NATIVE={BEST}: .* is not the file that was built"):
        wanted(BEST, folder, EVERYTHING)


@x86
@pytest.mark.parametrize("by_path", [False, True])
def test_the_variable_does_not_run_what_the_processor_lacks(folder: Path, by_path: bool) -> None:
    wish = str(folder / f"{BEST}.so") if by_path else BEST
    with pytest.raises(UserError, match=r"^RNN_SWEEP_NATIVE=.*: this processor lacks avx512_bf16"):
        wanted(wish, folder, NEEDS["x86-64-v4"])


def test_another_library_is_none_of_ours(folder: Path) -> None:
    import _ctypes

    with pytest.raises(UserError, match="no library of rnn-sweep's native engine"):
        wanted(_ctypes.__file__, folder, EVERYTHING)
