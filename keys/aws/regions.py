"""Which Regions AWS has: botocore's endpoint data, and what the installation adds (EXTRA_REGIONS)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from botocore import loaders
from django.conf import settings


def of(partition: str) -> Mapping[str, frozenset[str]]:
    """Return partition → its Regions, for one partition; AWS opens a Region sooner than a pinned botocore knows it.

    Args:
        partition: of our service role; what `EXTRA_REGIONS` names is taken to belong to it.
    """
    return {partition: _known(partition) | frozenset(settings.EXTRA_REGIONS)}


@cache
def _known(partition: str) -> frozenset[str]:
    data = loaders.create_loader().load_data("endpoints")
    return frozenset(
        region for found in data["partitions"] if found["partition"] == partition for region in found["regions"]
    )
