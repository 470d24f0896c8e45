"""Puts the settings of :func:`rnn_sweep.main` before Hydra's own, whose ``hydra/env`` is composed into every root."""

from __future__ import annotations

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from rnn_sweep.run.search_path import current


class Keys(SearchPathPlugin):
    """Changes nothing where the application does not use the decorator."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Called by Hydra when an application starts."""
        path = current()
        if path is not None:
            search_path.prepend("rnn-sweep", path)
