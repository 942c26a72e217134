"""What a person typed that the log or a row keeps: trimmed, bounded, or refused."""

from __future__ import annotations

from byokportal import secret_texts
from byokportal.errors import InvalidInput
from byokportal.translation import translate as _
from tenants.errors import ReasonMissing


def reason_of(reason: str) -> str:
    """Return the reason that a person gave, trimmed and bounded.

    Raises:
        ReasonMissing: it is empty.
        SecretPasted: it holds a secret.
    """
    secret_texts.refuse(reason, field="reason")
    reason = " ".join(reason.split())[:200]
    if not reason:
        raise ReasonMissing(errors={"reason": [ReasonMissing.detail]})
    return reason


def name_of(name: str, *, field: str = "name") -> str:
    """Return a name that a person gave, trimmed.

    Raises:
        InvalidInput: it is empty, too long or not printable.
        SecretPasted: it holds a secret.
    """
    secret_texts.refuse(name, field=field)
    name = " ".join(name.split())
    if not name or len(name) > 120 or not name.isprintable():
        raise InvalidInput(errors={field: [_("A name has 1 to 120 printable characters.")]})
    return name
