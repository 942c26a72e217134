"""What a tenant's directory says of a person, as a value, and which role follows from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tenants.models import Role

ORDER = (Role.OWNER, Role.ADMIN, Role.AUDITOR)


@dataclass(frozen=True, slots=True)
class Asserted:
    """What a directory said, checked for form and signature and for nothing else.

    Attributes:
        email: lower case; whether its domain is the tenant's is for the services to ask.
        values: of the claim that names roles.
        authenticated_at: when the person last proved who they are to the directory, if it says so.
    """

    issuer: str
    subject: str
    email: str
    values: tuple[str, ...]
    has_second_factor: bool
    authenticated_at: datetime | None
    # Google's name for the organisation that an account belongs to; empty: a consumer's, or another issuer's.
    hosted_domain: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as a row keeps it."""
        at = self.authenticated_at.timestamp() if self.authenticated_at else None
        return {
            "issuer": self.issuer,
            "subject": self.subject,
            "email": self.email,
            "values": list(self.values),
            "has_second_factor": self.has_second_factor,
            "authenticated_at": at,
            "hosted_domain": self.hosted_domain,
        }

    @classmethod
    def of_json(cls, kept: Mapping[str, Any]) -> Asserted:
        """Return what `as_json` was made of."""
        at = kept["authenticated_at"]
        return cls(
            issuer=kept["issuer"],
            subject=kept["subject"],
            email=kept["email"],
            values=tuple(kept["values"]),
            has_second_factor=kept["has_second_factor"],
            authenticated_at=None if at is None else datetime.fromtimestamp(at, UTC),
            hosted_domain=kept.get("hosted_domain", ""),
        )


def role_of(values: Iterable[str], *, roles: Mapping[str, str], default: str, may_make_owners: bool) -> Role | None:
    """Return the highest role that the values name; None when they name none and there is no default."""
    named = {roles[value] for value in values if value in roles}
    for role in ORDER:
        if role in named and (role != Role.OWNER or may_make_owners):
            return role
    return Role(default) if default else None
