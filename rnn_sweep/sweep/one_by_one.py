"""Base of the samplers that choose a trial's parameters one by one, as conditions are met."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna.samplers import BaseSampler

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial


class OneByOne(BaseSampler):
    """A sampler without a relative search space; see :class:`optuna.samplers.BaseSampler`."""

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Nothing: parameters are asked for one by one."""
        return {}

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: Any) -> dict[str, Any]:
        """Nothing, see above."""
        return {}
