"""Hydra's own suites for launchers, run on `threads`; their task functions have no hook for it."""

from __future__ import annotations

import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.test_utils.launcher_common_tests import IntegrationTestSuite, LauncherTestSuite

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("of_hydra_1_1")]  # real processes


def test_hydra_finds_the_launcher() -> None:
    assert "ThreadsLauncher" in [kind.__name__ for kind in Plugins.instance().discover(Launcher)]


# The suite's apps name no version of Hydra to be compatible with, which Hydra warns about in the process of the job.
@pytest.mark.filterwarnings("ignore:Future Hydra versions:UserWarning")
@pytest.mark.parametrize(("launcher_name", "overrides"), [("threads", [])])
class TestThreads(LauncherTestSuite):
    pass


@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"),
    [
        (
            {
                "defaults": [
                    {"override hydra/launcher": "threads"},
                    {"override hydra/hydra_logging": "disabled"},
                    {"override hydra/job_logging": "disabled"},
                ]
            },
            ["-m"],
        )
    ],
)
class TestThreadsIntegration(IntegrationTestSuite):
    pass
