"""The settings of a benchmark: production's, over http on loopback,
and no limits."""

from byokportal.settings import *  # noqa: F403
