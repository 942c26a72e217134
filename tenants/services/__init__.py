"""Operations of the tenants app, one module for each noun; the other apps and the entry points call them from here."""

from tenants.services.automation_tokens import mint_token, revoke_token
from tenants.services.organisations import create_tenant
from tenants.services.people import change_role, invite
from tenants.services.service_accounts import create_service_account, rotate_secret
from tenants.services.service_roles import record_service_role
from tenants.services.words import name_of, reason_of

__all__ = [
    "change_role",
    "create_service_account",
    "create_tenant",
    "invite",
    "mint_token",
    "name_of",
    "reason_of",
    "record_service_role",
    "revoke_token",
    "rotate_secret",
]
