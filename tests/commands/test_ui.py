"""``rnn-sweep ui``: finds the page, starts MLflow's server on loopback or says in one message why not."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests import warm
from tests.commands.conftest import Command
from tests.conftest import STUDY
from tests.integration.services import free_port, wait_until
from tests.tracking.test_tracking_server import get


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_the_browser_gets_the_address_and_the_server_ends_with_the_command(
    number: int, status: int, swept: Path, tmp_path: Path
) -> None:
    """MLflow's real server: no process of it may outlive the command."""
    browser, seen = tmp_path / "browser", tmp_path / "address"
    browser.write_text(f'#!/bin/sh\necho "$1" > {seen}.new && mv {seen}.new {seen}\n')
    browser.chmod(0o755)
    before = sorted(path.name for path in swept.iterdir())
    port = free_port()
    line = [sys.executable, "-m", "rnn_sweep", "ui", STUDY, "--port", str(port)]
    env = {**os.environ, "BROWSER": str(browser)}
    with warm.Popen(line, cwd=swept, env=env, stdout=subprocess.PIPE, text=True) as process:
        wait_until("the browser", seen.is_file)
        assert get(f"http://127.0.0.1:{port}/health") == b"OK"
        process.send_signal(number)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == status
    address = seen.read_text().strip()
    assert out.splitlines()[0] == address
    assert address.startswith(f"http://127.0.0.1:{port}/#/experiments/1/")
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0, "the server has ended"
    assert sorted(path.name for path in swept.iterdir()) == before


@pytest.mark.slow
def test_mistakes_are_one_message(rnn_sweep: Command, swept: Path, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = rnn_sweep(swept, "ui", "--no-browser", "--port", str(other.getsockname()[1]))
    assert taken.status == 2
    assert "error: --port must be free" in taken.err
    missing = rnn_sweep(swept, "ui", "smal", "--no-browser")
    assert missing.status == 2
    assert "'smal'" in missing.err
    empty = rnn_sweep(tmp_path, "ui", "--no-browser")
    assert empty.status == 2
    assert "there is no database" in empty.err
