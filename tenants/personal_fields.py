"""Each text column of every table: whether it can name a person, and what becomes of it when that person is erased.

tests/architecture/test_personal_fields.py walks all models, those of Django and of libraries too, and wants a line for
each text of theirs. Models are named and not imported: this is about all apps.
"""

from __future__ import annotations

# What is done with a column; anything else in the table below is a reason why a name in it is kept.
NOBODY = "nobody"  # ids, codes, ARNs, digests, words of ours: it names no person
WHOLE = "whole"  # all of it is a mail address or a name
LABEL = "label"  # all of it is the label of an actor: `member:a@b.example`
WITHIN = "within"  # words of people in which an address may stand
ACCOUNT = "account"  # of the account itself, which ends with the person's last organisation
ROW = "row"  # the row is about that person alone and is deleted
WAYS = {NOBODY, WHOLE, LABEL, WITHIN, ACCOUNT, ROW}

REFUSED = "while it is there, erasing is refused: it is taken away first"
SHORT = "it is deleted within a day"

FIELDS: dict[str, dict[str, str]] = {
    # --- Django and libraries
    "admin.LogEntry": {"object_id": NOBODY, "object_repr": WITHIN, "change_message": WITHIN},
    "auth.Permission": {"name": NOBODY, "codename": NOBODY},
    "auth.Group": {"name": NOBODY},
    "auth.User": {
        "password": ACCOUNT,
        "username": ACCOUNT,
        "first_name": ACCOUNT,
        "last_name": ACCOUNT,
        "email": ACCOUNT,
    },
    "contenttypes.ContentType": {"app_label": NOBODY, "model": NOBODY},
    "sessions.Session": {"session_key": NOBODY, "session_data": ACCOUNT},
    "account.EmailAddress": {"email": ACCOUNT},
    "account.EmailConfirmation": {"key": NOBODY},
    "mfa.Authenticator": {"data": ACCOUNT},
    "usersessions.UserSession": {"session_key": NOBODY, "user_agent": ACCOUNT, "data": ACCOUNT},
    # --- tenants
    "tenants.ServiceRole": dict.fromkeys(
        ("name", "arn", "unique_id", "canary_role_arn", "canary_external_id", "lease_owner"), NOBODY
    ),
    "tenants.Tenant": {"name": NOBODY, "external_id": NOBODY},
    "tenants.Invitation": {"email": WHOLE, "invited_by": LABEL},
    "tenants.InvitationLink": {"digest": NOBODY},
    "tenants.AddressChange": {"email": ROW, "digest": NOBODY},
    "tenants.ServiceAccount": {"name": NOBODY, "scopes": NOBODY},
    "tenants.ClientSecret": {"digest": NOBODY},
    "tenants.AccessToken": {
        "digest": NOBODY,
        "name": WITHIN,
        "scopes": NOBODY,
        "made_by": LABEL,
        "permissions": NOBODY,
    },
    "tenants.Approval": {
        "operation": NOBODY,
        "arguments": WITHIN,
        "sentence": WITHIN,
        "reason": WITHIN,
        "via": NOBODY,
        "decision_reason": WITHIN,
    },
    "tenants.DirectoryToken": {"digest": NOBODY, "made_by": LABEL},
    "tenants.DirectoryUser": dict.fromkeys(("user_name", "user_name_key", "external_id", "email", "resource"), REFUSED),
    "tenants.DirectoryGroup": {"display_name": NOBODY, "external_id": NOBODY},
    "tenants.MailDomain": {"name": NOBODY, "token": NOBODY, "problem": NOBODY},
    "tenants.IdempotentRequest": {"caller": NOBODY, "key": NOBODY, "request_hash": NOBODY, "answer": SHORT},
    "tenants.PersonName": {"id": NOBODY, "text": WHOLE, "salt": WHOLE},
    "tenants.AuditEvent": {
        "name": NOBODY,
        "actor": "it holds a reference to PersonName; lines from before that table are as they were written",
        "payload": "it holds references to PersonName; lines from before that table are as they were written",
        "request_id": NOBODY,
        "previous_seal": NOBODY,
        "seal": NOBODY,
        "seal_salt": NOBODY,
    },
    "tenants.Sealer": {"refused_why": NOBODY},
    "tenants.LogTree": {"name": NOBODY, "peaks": NOBODY},
    "tenants.LogNode": {"hash": NOBODY},
    "tenants.LogHead": dict.fromkeys(("body", "consistency", "signature", "public_key"), NOBODY),
    "tenants.TenantHead": {"root": NOBODY, "leaf": NOBODY},
    "tenants.ArchivedMonth": dict.fromkeys(("file", "sha256"), NOBODY),
    "tenants.ArchivedLog": {"beyond": NOBODY},
    "tenants.ArchivedLeaf": {"seal": NOBODY},
    "tenants.HeadRecipient": {"email": REFUSED},
    "tenants.OnboardingStep": {"evidence": NOBODY},
    "tenants.OnboardingMove": {"old_status": NOBODY, "new_status": NOBODY, "reason": WITHIN, "actor": LABEL},
    "tenants.OwnerRecovery": {"email": WHOLE, "reason": WITHIN},
    "tenants.ObjectionLink": {"address": WHOLE, "digest": NOBODY},
    "tenants.SealedValues": {"sealed": NOBODY},
    "tenants.SignOnConnection": dict.fromkeys(
        (
            "issuer",
            "client_id",
            "sealed_secret",
            "provider",
            "role_claim",
            "role_values",
            "factor_values",
            "look_problem",
        ),
        NOBODY,
    ),
    "tenants.SignOnIdentity": {"issuer": NOBODY, "subject": ACCOUNT, "email": WHOLE},
    "tenants.SignOnAttempt": {
        **dict.fromkeys(("browser", "state", "nonce", "verifier", "next_page", "delivered_to"), NOBODY),
        "delivered": SHORT,
        "asserted": SHORT,
    },
    "tenants.SignOnAssertion": {"digest": NOBODY},
    "tenants.LogStream": {
        "description": WITHIN,
        "made_by": LABEL,
        "answer": WITHIN,
        "why": NOBODY,
        "test_why": NOBODY,
        **dict.fromkeys(
            ("origin", "header_names", "sealed_address", "sealed_headers", "sealed_secret", "sealed_old_secret"), NOBODY
        ),
    },
    # --- keys
    "keys.Canary": {"region": NOBODY, "role_arn": NOBODY, "key_arn": NOBODY, "why": NOBODY},
    "keys.DocumentChoices": {
        "role_path": NOBODY,
        "permissions_boundary": NOBODY,
        "tags": "it stands in the organisation's own documents: they change it there",
    },
    "keys.KeyRegistration": {
        **dict.fromkeys(("key_arn", "role_arn", "role_claim", "warnings"), NOBODY),
        "reason": WITHIN,
    },
    "keys.RegistrationMove": {"old_status": NOBODY, "new_status": NOBODY, "reason": WITHIN, "actor": LABEL},
    "keys.RoleConfiguration": {"role_arn": NOBODY, "reason": WITHIN, "approved_by": LABEL, "evidence": NOBODY},
    "keys.ServiceRolePolicy": dict.fromkeys(
        ("policy_arn", "role_arns", "written_hash", "version", "found", "found_document"), NOBODY
    ),
    "keys.DriftResolution": {
        "found_digest": NOBODY,
        "difference": NOBODY,
        "reason": WITHIN,
        "requested_by": LABEL,
        "decided_by": LABEL,
        "outcome": NOBODY,
        "reviewed_by": LABEL,
    },
    "keys.BranchKey": {"data_scope": NOBODY, "key_arn": NOBODY, "wrapped": NOBODY, "reason": NOBODY},
    "keys.BranchKeyWrapping": {"key_arn": NOBODY, "wrapped": NOBODY},
    "keys.BranchKeyLoad": dict.fromkeys(("data_scope", "region", "session_name", "aws_request_id"), NOBODY),
    "keys.KeyUse": dict.fromkeys(("caller", "context_digest", "request_id", "data_scope"), NOBODY),
    "keys.ServingProcess": {"name": NOBODY, "started_snapshot": NOBODY, "seen_snapshot": NOBODY},
    "keys.DatabaseAdmission": {"incarnation": NOBODY, "admitted_by": LABEL, "reason": WITHIN},
    "keys.KeyHealth": dict.fromkeys(("data_scope", "region", "refused_code", "key_facts"), NOBODY),
    "keys.SetupLink": {"name": WHOLE, "digest": NOBODY, "made_by": LABEL},
    "keys.ArnProposal": {"key_arn": NOBODY, "role_arn": NOBODY, "decided_by": LABEL},
    "keys.Incident": {"why": NOBODY, "closed_by": LABEL, "closing_reason": WITHIN},
    "keys.Closing": {
        "reason": WITHIN,
        "requested_by": LABEL,
        "decided_by": LABEL,
        "decision": WITHIN,
        "why": NOBODY,
        "folder": NOBODY,
        "facts": NOBODY,
        "addresses": "the owners of that moment, who get both receipts; emptied with the second one",
    },
    "keys.ClosingReceipt": {"body": NOBODY, "signature": NOBODY, "public_key": NOBODY},
    "keys.RestoreHold": {"confirmed_by": LABEL, "requested_by": LABEL, "request_reason": WITHIN, "ended_by": WITHIN},
    "keys.RevocationDrill": {"reason": WITHIN, "started_by": LABEL, "refused_code": NOBODY, "processes": NOBODY},
    "keys.EncryptionTest": {"requested_by": LABEL},
    "keys.CheckResult": dict.fromkeys(
        ("code", "title", "causes", "evidence", "remedy", "document", "corrected", "inferred", "decide"), NOBODY
    ),
    "keys.KeyUseHour": {"service": NOBODY, "data_scope": NOBODY},
    "keys.KeyUseTotal": {"data_scope": NOBODY},
    "keys.KeyUseRollUp": {"salt": NOBODY, "root": NOBODY},
    # --- support
    "support.BulkOperation": {"facts": WITHIN, "reason": WITHIN, "filters": WITHIN, "decision": WITHIN},
    "support.BulkItem": {"why": NOBODY},
    "support.IncidentResponse": {"taken_by": LABEL},
    "support.OnCallMessage": {"dedup_key": NOBODY, "why": NOBODY},
    "support.Ticket": {"subject": WITHIN, "opened_by": LABEL},
    "support.TicketMessage": {"author": LABEL, "text": WITHIN, "mail_id": NOBODY},
    "support.TicketMove": {"old_status": NOBODY, "reason": WITHIN, "actor": LABEL},
    "support.InboundMail": {"delivery": NOBODY, "message": NOBODY, "outcome": NOBODY},
    "support.WebhookEndpoint": {
        "description": WITHIN,
        "made_by": LABEL,
        **dict.fromkeys(
            ("origin", "kinds", "sealed_address", "sealed_secret", "sealed_old_secret", "sealed_routing_key"), NOBODY
        ),
    },
    "support.WebhookDelivery": {"answer": WITHIN, "why": NOBODY},
    "support.Notice": {"template": NOBODY, "recipient": ROW, "context": WITHIN},
    "support.MailChoice": {"kind": NOBODY},
    "support.FleetRow": dict.fromkeys(("name", "cause", "region", "account", "key_account", "key_id"), NOBODY),
    "support.FleetFigures": {"figures": NOBODY},
    "support.SavedView": {"name": WITHIN, "query": WITHIN},
    "support.StaffReview": {"found": WITHIN},
    "support.Heartbeat": {"kind": NOBODY, "name": NOBODY},
}

# How a row leads to its organisation, where it has no column `tenant`; what is not here either is nobody's but ours.
TENANT_PATHS = {
    "tenants.AccessToken": "member__tenant",
    "tenants.DirectoryToken": "directory__tenant",
    "tenants.ObjectionLink": "recovery__tenant",
    "tenants.SignOnIdentity": "member__tenant",
}
