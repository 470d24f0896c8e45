"""MLflow's UI in the browser, at the page of a run or a sweep."""

from __future__ import annotations

import os
import signal
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rnn_sweep.tracking.pages import find_page
from rnn_sweep.tracking.reading import open_existing
from rnn_sweep.tracking.ui import PORTS, find_running, serving


def show(name: str | None, uri: str, port: int | None, *, browser: bool) -> None:
    """Open a page, on the server that runs or on one that ends with Ctrl-C.

    Args:
        name: a run's id or its beginning, or a study's name; None is the table of all runs.
        uri: MLflow's store, as ``tracking.uri``.
        port: where to look for the server and to start it; None is the first of the usual ones.
        browser: whether to open a browser; the address is printed in any case.

    Raises:
        UserError: no such run, store or free port.
    """
    store = open_existing(uri)
    page = find_page(store, name)
    ports = list(PORTS) if port is None else [port]
    address = store.uri.rstrip("/") if store.uri.startswith("http") else find_running(page.run_id, ports)
    if address is not None:
        _open(address + page.path, browser=browser)
        return
    print("starting MLflow's server …", file=sys.stderr, flush=True)
    with _ending(), serving(store, ports) as server:
        _open(server.address + page.path, browser=browser)
        print("Ctrl-C ends the server.", flush=True)
        server.wait()


def _open(address: str, *, browser: bool) -> None:
    """Print an address and open it, unless there is no screen for a browser: one in the terminal runs no JavaScript."""
    from rnn_sweep.redaction import mask

    print(mask(address), flush=True)
    if not browser:
        return
    screen = sys.platform != "linux" or any(os.environ.get(key) for key in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
    try:
        opened = screen and webbrowser.open(address)
    except (webbrowser.Error, OSError):
        opened = False
    if not opened:
        print("no browser was found: open this address in yours", flush=True)


@contextmanager
def _ending() -> Iterator[None]:
    """Let Ctrl-C end the block in order, and SIGTERM and a closed terminal as well."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    numbers = [number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None]
    before = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    except KeyboardInterrupt:
        print()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
