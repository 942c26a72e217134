"""Operations of the tenants app, one module for each noun; the other apps and the entry points call them from here."""

from tenants.services.addresses import (
    address_change_by_link,
    confirm_address_change,
    new_address_link,
    request_address_change,
)
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
from tenants.services.recovery import (
    approve_recovery,
    complete_recovery,
    new_objection_link,
    object_by_link,
    object_to_recovery,
    recovery_by_link,
    request_new_owner,
    request_second_factor,
    withdraw_recovery,
)
from tenants.services.second_factors import reset_second_factor
from tenants.services.service_accounts import (
    change_service_account,
    create_service_account,
    disable_service_account,
    enable_service_account,
    note_refused_client,
    revoke_old_secret,
    rotate_secret,
)
from tenants.services.service_roles import record_service_role
from tenants.services.staff import (
    create_staff,
    password_link,
    regroup_staff,
    reset_staff_second_factor,
    staff_of,
    switch_off,
    switch_on,
)
from tenants.services.words import name_of, reason_of

__all__ = [
    "accept_invitation",
    "address_change_by_link",
    "approve_recovery",
    "change_role",
    "change_service_account",
    "complete_recovery",
    "confirm_address_change",
    "create_service_account",
    "create_staff",
    "create_tenant",
    "disable_service_account",
    "enable_service_account",
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
    "new_address_link",
    "new_link",
    "new_objection_link",
    "note_refused_client",
    "object_by_link",
    "object_to_recovery",
    "password_link",
    "reason_of",
    "record_service_role",
    "recovery_by_link",
    "regroup_staff",
    "remove_member",
    "request_address_change",
    "request_new_owner",
    "request_second_factor",
    "resend_invitation",
    "reset_second_factor",
    "reset_staff_second_factor",
    "revoke_old_secret",
    "revoke_token",
    "rotate_secret",
    "staff_of",
    "switch_off",
    "switch_on",
    "withdraw_invitation",
    "withdraw_recovery",
]
