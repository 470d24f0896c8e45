"""Who may draw."""

import threading

DRAWING = threading.Lock()
"""Matplotlib's layout of text is not thread-safe, and runs of a sweep end in threads of one process."""
