"""Operations of the tenants app, one module for each noun; the other apps and the entry points call them from here."""

from tenants.services.automation_tokens import mint_token, mint_token_of_invitation, revoke_token
from tenants.services.invitations import (
    accept_invitation,
    has_proved,
    invitation_by_link,
    invitation_of,
    invite,
    inviter_of,
    needs_password,
    new_link,
    resend_invitation,
    withdraw_invitation,
)
from tenants.services.organisations import create_tenant
from tenants.services.people import change_role, leave_organisation, remove_member
from tenants.services.service_accounts import create_service_account, note_refused_client, rotate_secret
from tenants.services.service_roles import record_service_role
from tenants.services.words import name_of, reason_of

__all__ = [
    "accept_invitation",
    "change_role",
    "create_service_account",
    "create_tenant",
    "has_proved",
    "invitation_by_link",
    "invitation_of",
    "invite",
    "inviter_of",
    "leave_organisation",
    "mint_token",
    "mint_token_of_invitation",
    "name_of",
    "needs_password",
    "new_link",
    "note_refused_client",
    "reason_of",
    "record_service_role",
    "remove_member",
    "resend_invitation",
    "revoke_token",
    "rotate_secret",
    "withdraw_invitation",
]
