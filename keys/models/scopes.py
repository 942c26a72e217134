"""The data scope: which of a tenant's data a key, its use and its health belong to; there is one so far."""

from __future__ import annotations

DEFAULT_SCOPE = "default"
