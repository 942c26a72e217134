"""The settings of a benchmark: production's, over http on loopback,
with an empty view to compare with and no limits."""

from byokportal.settings import *  # noqa: F403

ROOT_URLCONF = "tests.bench.urls"
