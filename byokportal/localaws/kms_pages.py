"""Lists of KMS, page by page: moto gives everything at once (KMS API reference, "Limit" and "Marker")."""

from __future__ import annotations

import json
from typing import Any

from byokportal.localaws import moto_adapter
from byokportal.localaws.errors import AwsError

# Operation → the field of its list, and how many it gives to those who do not say.
LISTS = {
    "ListAliases": ("Aliases", 50),
    "ListGrants": ("Grants", 50),
    "ListKeyPolicies": ("PolicyNames", 100),
    "ListKeyRotations": ("Rotations", 100),
    "ListKeys": ("Keys", 100),
    "ListResourceTags": ("Tags", 50),
    "ListRetirableGrants": ("Grants", 50),
}


def start(operation: str, given: dict[str, Any]) -> int:
    """Return where a page begins.

    Raises:
        AwsError: InvalidMarkerException: the marker is not one that was given out here.
    """
    marker = given.get("Marker", "0") if operation in LISTS else "0"
    if not (marker.isascii() and marker.isdigit() and len(marker) < 10):
        raise AwsError("InvalidMarkerException", "")
    return int(marker)


def cut(operation: str, given: dict[str, Any], answered: moto_adapter.Answer) -> moto_adapter.Answer:
    """Return the page of a list that was asked for."""
    if operation not in LISTS or answered.status >= 400:
        return answered
    field, usual = LISTS[operation]
    body, first = json.loads(answered.body), start(operation, given)
    last = first + given.get("Limit", usual)
    more = {"NextMarker": str(last), "Truncated": True} if last < len(body[field]) else {"Truncated": False}
    return moto_adapter.json_answer({field: body[field][first:last], **more})
