"""How our service role reaches a tenant's key; pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self

from keys import actions
from keys.arns import KeyArn, RoleArn


@dataclass(frozen=True, slots=True)
class Access:
    """The way to a tenant's key: our service role assumes the tenant's role, and that role uses the key.

    Args:
        tenant: its id; it stands in the session name and in the encryption context of our calls.
        service_role: our role, which the tenant's trust policy names.
        external_id: what that trust policy asks for.
        role, key: the tenant's; None while it has not given them.
        actions: what its policies let us do with the key (`keys.actions`); no session of ours may do more.
    """

    tenant: str
    service_role: RoleArn
    external_id: str = field(repr=False)
    role: RoleArn | None = None
    key: KeyArn | None = None
    actions: tuple[str, ...] = actions.GUIDE

    @classmethod
    def of_texts(
        cls,
        *,
        tenant: str,
        service_role_arn: str,
        external_id: str,
        role_arn: str = "",
        key_arn: str = "",
        variant: str = "",
    ) -> Self:
        """Read the ARNs as the database holds them; "" is one that is not given.

        Args:
            variant: of `actions.Variant`; "" is the guide's.

        Raises:
            ArnRefused: a text is no ARN.
        """
        return cls(
            tenant,
            RoleArn.parse(service_role_arn),
            external_id,
            RoleArn.parse(role_arn) if role_arn else None,
            KeyArn.parse(key_arn) if key_arn else None,
            actions.of(variant),
        )

    @property
    def is_narrow(self) -> bool:
        return self.actions != actions.GUIDE

    def encrypting(self) -> Self:
        """Return the same way where branch keys have to be wrapped anew by this key."""
        return replace(self, actions=actions.NARROW_WITH_ENCRYPT) if self.is_narrow else self

    def both(self) -> tuple[RoleArn, KeyArn]:
        """Return role and key, for a caller that knows that both are given."""
        assert self.role is not None
        assert self.key is not None
        return self.role, self.key
