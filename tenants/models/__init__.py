"""Rows of the tenants app, one module for each noun: facts, constraints and the words to read them by."""

from tenants.models.approvals import APPROVAL_LASTS, NO_REASON, Approval, ApprovalQuerySet
from tenants.models.archives import ArchivedLeaf, ArchivedLog, ArchivedMonth
from tenants.models.credentials import AccessToken, AccessTokenQuerySet, ClientSecret, ServiceAccount
from tenants.models.directory import (
    Directory,
    DirectoryGroup,
    DirectoryToken,
    DirectoryUser,
    is_by_directory,
)
from tenants.models.domains import MailDomain, MailDomainQuerySet
from tenants.models.idempotency import IdempotentRequest
from tenants.models.log import AuditEvent, AuditEventQuerySet
from tenants.models.log_streams import LogStream, LogStreamQuerySet
from tenants.models.log_trees import HeadMailing, HeadRecipient, LogHead, LogNode, LogTree, Sealer, TenantHead
from tenants.models.names import PersonName
from tenants.models.onboarding import OnboardingMove, OnboardingStep
from tenants.models.organisations import Tenant
from tenants.models.people import (
    ADDRESS_CHANGE_LASTS,
    INVITATION_LASTS,
    AddressChange,
    Invitation,
    InvitationLink,
    Member,
    MemberQuerySet,
    PersonLanguage,
    Role,
)
from tenants.models.recovery import OBJECTION_LASTS, ObjectionLink, OwnerRecovery
from tenants.models.service_roles import ServiceRole, new_external_id
from tenants.models.shown_once import SealedValues
from tenants.models.sign_on import (
    ATTEMPT_LASTS,
    SignOnAssertion,
    SignOnAttempt,
    SignOnConnection,
    SignOnIdentity,
    SignOnSession,
    came_by_sign_on,
    needs_sign_on,
)

__all__ = [
    "ADDRESS_CHANGE_LASTS",
    "APPROVAL_LASTS",
    "ATTEMPT_LASTS",
    "INVITATION_LASTS",
    "NO_REASON",
    "OBJECTION_LASTS",
    "AccessToken",
    "AccessTokenQuerySet",
    "AddressChange",
    "Approval",
    "ApprovalQuerySet",
    "ArchivedLeaf",
    "ArchivedLog",
    "ArchivedMonth",
    "AuditEvent",
    "AuditEventQuerySet",
    "ClientSecret",
    "Directory",
    "DirectoryGroup",
    "DirectoryToken",
    "DirectoryUser",
    "HeadMailing",
    "HeadRecipient",
    "IdempotentRequest",
    "Invitation",
    "InvitationLink",
    "LogHead",
    "LogNode",
    "LogStream",
    "LogStreamQuerySet",
    "LogTree",
    "MailDomain",
    "MailDomainQuerySet",
    "Member",
    "MemberQuerySet",
    "ObjectionLink",
    "OnboardingMove",
    "OnboardingStep",
    "OwnerRecovery",
    "PersonLanguage",
    "PersonName",
    "Role",
    "SealedValues",
    "Sealer",
    "ServiceAccount",
    "ServiceRole",
    "SignOnAssertion",
    "SignOnAttempt",
    "SignOnConnection",
    "SignOnIdentity",
    "SignOnSession",
    "Tenant",
    "TenantHead",
    "came_by_sign_on",
    "is_by_directory",
    "needs_sign_on",
    "new_external_id",
]
