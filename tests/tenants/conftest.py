"""The directory of Acme Bank that tests of the sign-on begin with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import directory as directories
import pytest
from directory import Directory, verified_domain

from tenants.models import Tenant


@pytest.fixture(scope="module")
def _running() -> Iterator[Directory]:
    with directories.running() as running:
        yield running


@pytest.fixture
def directory(_running: Directory, settings: Any, tenant: Tenant) -> Directory:
    """Acme Bank's directory; its domain is verified."""
    settings.OUTBOUND_ALLOW = [_running.issuer]
    verified_domain(tenant)
    return _running
