"""Forked commands are what started ones are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests import warm

SCRIPT = """
import atexit, os, sys, threading, time
atexit.register(lambda: print("at exit"))
if __name__ == "__main__":
    print(sys.argv, os.getcwd(), os.environ.get("OF_TEST"), os.path.basename(sys.path[0]), sys.stdin.read())
    print(__file__, __spec__, "rnn_sweep" in sys.modules, os.getsid(0) == os.getpid(), file=sys.stderr)
    threading.Thread(target=lambda: (time.sleep(0.2), print("thread"))).start()
    if sys.argv[1] == "fail":
        raise ValueError("wrong")
    if sys.argv[1] == "wait":
        print("waiting", flush=True)
        time.sleep(60)
    sys.exit({"words": "no number", "none": None}.get(sys.argv[1], 3))
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "programs" / "it.py"
    path.parent.mkdir()
    path.write_text(SCRIPT)
    return path


@pytest.mark.skipif(warm.COLD, reason="nothing is forked")
@pytest.mark.parametrize("how", ["words", "none", "number", "fail"])
def test_a_script_has_its_arguments_streams_folder_environment_and_status(
    script: Path, tmp_path: Path, how: str
) -> None:
    done = []
    for module in (subprocess, warm):
        settings = {"cwd": tmp_path, "env": {**os.environ, "OF_TEST": "yes"}, "start_new_session": True}
        with module.Popen(
            [sys.executable, str(script), how], text=True, stdin=-1, stdout=-1, stderr=-1, **settings
        ) as process:
            out, err = process.communicate("typed")
        done.append((process.returncode, out, err.splitlines()[0], err.splitlines()[-1]))
    assert done[0] == done[1]


@pytest.mark.skipif(warm.COLD, reason="nothing is forked")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_it_is_a_child_that_takes_signals(script: Path, number: signal.Signals) -> None:
    line = [sys.executable, str(script), "wait"]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with warm.Popen(line, text=True, **streams) as process:
        assert "it.py" in process.stdout.readline()
        assert process.stdout.readline() == "waiting\n"
        assert psutil.Process(process.pid).ppid() == os.getpid()
        process.send_signal(number)
        assert process.wait(60) == -number


def test_a_module_is_found_in_the_folder_and_on_the_path(tmp_path: Path) -> None:
    (tmp_path / "here.py").write_text("import there, sys; print(sys.argv, there.NAME)")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "there.py").write_text("NAME = 'found'")
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "elsewhere")}
    line = [sys.executable, "-m", "here", "x"]
    done = warm.run(line, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == f"{[str(tmp_path / 'here.py'), 'x']} found\n"


TWO = """
import os, sys
import PACKAGE
def seen():
    return os.getpid(), os.getppid(), "torch" in sys.modules, "PACKAGE" in sys.modules, os.environ.get("OF_WORKER")
if __name__ == "__main__":
    executor = PACKAGE.ProcessPoolExecutor(1, env={"OF_WORKER": "yes"}, timeout=60)
    first = executor.submit(seen).result()
    os.kill(first[0], 9)
    print(first[1:] == (os.getpid(), True, True, "yes"), "torch" in sys.modules)
    again = PACKAGE.ProcessPoolExecutor(1)
    print(again.submit(seen).result()[1:] == (os.getpid(), True, True, None))
"""


@pytest.mark.slow
@pytest.mark.skipif(warm.COLD, reason="nothing is forked")
@pytest.mark.parametrize("package", ["loky", "joblib.externals.loky"])
def test_workers_are_children_that_have_imported_everything(tmp_path: Path, package: str) -> None:
    (tmp_path / "two.py").write_text(TWO.replace("PACKAGE", package))
    line = [sys.executable, "two.py", "hydra/launcher=processes"]
    done = warm.run(line, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "True True\nTrue\n", done.stderr
    cold = {**os.environ, "COLD_WORKERS": "1"}
    done = warm.run(line, cwd=tmp_path, env=cold, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "False True\nFalse\n", done.stderr


def test_what_cannot_be_forked_is_started(tmp_path: Path) -> None:
    program = "import sys; print(sorted({'torch', 'mlflow'} & set(sys.modules)), sys.flags.dev_mode)"
    line = [sys.executable, "-X", "dev", "-c", program]
    assert warm.run(line, capture_output=True, text=True, check=True).stdout == "[] True\n"
    env = {**os.environ, "PYTHONHASHSEED": "3"}
    (tmp_path / "hashed.py").write_text(program)
    line = [sys.executable, "hashed.py"]
    assert warm.run(line, cwd=tmp_path, env=env, capture_output=True, text=True).stdout == "[] False\n"
