"""Rows of the keys app, one module for each noun: facts, constraints and the words to read them by."""

from keys.models.canaries import Canary
from keys.models.choices import ACTIONS, DocumentChoices, choices_of
from keys.models.closing import Closing, ClosingQuerySet, ClosingReceipt
from keys.models.configuration import AccountQuotas, DriftResolution, RoleConfiguration, ServiceRolePolicy
from keys.models.custody import (
    BranchKey,
    BranchKeyLoad,
    BranchKeyWrapping,
    CacheDrop,
    DatabaseAdmission,
    KeyUse,
    ServingProcess,
)
from keys.models.health import KeyHealth, KeyHealthQuerySet
from keys.models.holds import RestoreHold, RestoreHoldQuerySet
from keys.models.jobs import (
    CLAIM_LASTS,
    WAKE_AGAIN,
    Claim,
    ClaimLost,
    Job,
    JobQuerySet,
    not_woken_lately,
    pause_after,
    put_off_if_it_breaks,
)
from keys.models.links import ArnProposal, SetupLink
from keys.models.loss import Incident, RevocationDrill
from keys.models.proof import CheckResult, EncryptionTest
from keys.models.registration import KeyRegistration, KeyRegistrationQuerySet, RegistrationMove
from keys.models.scopes import DEFAULT_SCOPE
from keys.models.usage import KeyUseCursor, KeyUseHour, KeyUseRollUp, KeyUseTotal

__all__ = [
    "ACTIONS",
    "CLAIM_LASTS",
    "DEFAULT_SCOPE",
    "WAKE_AGAIN",
    "AccountQuotas",
    "ArnProposal",
    "BranchKey",
    "BranchKeyLoad",
    "BranchKeyWrapping",
    "CacheDrop",
    "Canary",
    "CheckResult",
    "Claim",
    "ClaimLost",
    "Closing",
    "ClosingQuerySet",
    "ClosingReceipt",
    "DatabaseAdmission",
    "DocumentChoices",
    "DriftResolution",
    "EncryptionTest",
    "Incident",
    "Job",
    "JobQuerySet",
    "KeyHealth",
    "KeyHealthQuerySet",
    "KeyRegistration",
    "KeyRegistrationQuerySet",
    "KeyUse",
    "KeyUseCursor",
    "KeyUseHour",
    "KeyUseRollUp",
    "KeyUseTotal",
    "RegistrationMove",
    "RestoreHold",
    "RestoreHoldQuerySet",
    "RevocationDrill",
    "RoleConfiguration",
    "ServiceRolePolicy",
    "ServingProcess",
    "SetupLink",
    "choices_of",
    "not_woken_lately",
    "pause_after",
    "put_off_if_it_breaks",
]
