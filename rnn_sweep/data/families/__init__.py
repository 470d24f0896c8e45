"""The data sets: each module here is one, and its name is what ``data.name`` takes."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping

from rnn_sweep.data.family import Family


class Families(Mapping[str, Family]):
    """The data sets by name, in alphabetical order; a module is imported when its data set is looked up."""

    def __getitem__(self, name: str) -> Family:
        if name not in list(self):
            raise KeyError(name)
        family: Family = importlib.import_module(f"{__name__}.{name}").FAMILY
        return family

    def __iter__(self) -> Iterator[str]:
        return (module.name for module in pkgutil.iter_modules(__path__))

    def __len__(self) -> int:
        return len(list(iter(self)))


FAMILIES = Families()
"""Every data set by the name that ``data.name`` takes."""
