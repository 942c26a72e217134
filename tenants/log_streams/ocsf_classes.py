"""Which class and activity of the Open Cybersecurity Schema Framework each event of the log is; pure.

Version 1.3.0, of which later ones of the same major version take nothing away. Sources:
github.com/ocsf/ocsf-schema/tree/1.3.0/events/iam (account_change, authentication, entity_management, user_access,
group_management) and …/events/application/api.json; schema.ocsf.io/1.3.0.
"""

from __future__ import annotations

from dataclasses import dataclass

VERSION = "1.3.0"

# class_uid = category_uid * 1000 + the class's own number; type_uid = class_uid * 100 + activity_id.
ACCOUNT, AUTHENTICATION, ENTITY, ACCESS, GROUP, API = 3001, 3002, 3004, 3005, 3006, 6003
CATEGORIES = {3: "Identity & Access Management", 6: "Application Activity"}
NAMES = {
    ACCOUNT: "Account Change",
    AUTHENTICATION: "Authentication",
    ENTITY: "Entity Management",
    ACCESS: "User Access Management",
    GROUP: "Group Management",
    API: "API Activity",
}
OTHER = 99
ACTIVITIES = {
    ACCOUNT: {
        1: "Create",
        2: "Enable",
        3: "Password Change",
        4: "Password Reset",
        5: "Disable",
        6: "Delete",
        7: "Attach Policy",
        8: "Detach Policy",
        9: "Lock",
        10: "MFA Factor Enable",
        11: "MFA Factor Disable",
        OTHER: "Other",
    },
    AUTHENTICATION: {1: "Logon", 2: "Logoff", OTHER: "Other"},
    ENTITY: {
        1: "Create",
        2: "Read",
        3: "Update",
        4: "Delete",
        5: "Move",
        6: "Enroll",
        7: "Unenroll",
        8: "Enable",
        9: "Disable",
        10: "Activate",
        11: "Deactivate",
        12: "Suspend",
        13: "Resume",
        OTHER: "Other",
    },
    ACCESS: {1: "Assign Privileges", 2: "Revoke Privileges", OTHER: "Other"},
    GROUP: {
        1: "Assign Privileges",
        2: "Revoke Privileges",
        3: "Add User",
        4: "Remove User",
        5: "Delete",
        6: "Create",
        OTHER: "Other",
    },
    API: {1: "Create", 2: "Read", 3: "Update", 4: "Delete", OTHER: "Other"},
}
INFORMATIONAL, LOW, MEDIUM, HIGH, CRITICAL = 1, 2, 3, 4, 5
SEVERITIES = {1: "Informational", 2: "Low", 3: "Medium", 4: "High", 5: "Critical"}
SUCCESS, FAILURE = 1, 2
STATUSES = {SUCCESS: "Success", FAILURE: "Failure"}


@dataclass(frozen=True, slots=True)
class Class:
    """What an event is in OCSF.

    Attributes:
        uid, activity: of `NAMES` and `ACTIVITIES`.
        what: the kind of thing that an event of `ENTITY` or `API` is about.
        severity: of `SEVERITIES`.
        status: of `STATUSES`.
    """

    uid: int
    activity: int
    what: str = ""
    severity: int = INFORMATIONAL
    status: int = SUCCESS


def _account(activity: int, severity: int = INFORMATIONAL) -> Class:
    return Class(ACCOUNT, activity, severity=severity)


def _entity(what: str, activity: int, severity: int = INFORMATIONAL, status: int = SUCCESS) -> Class:
    return Class(ENTITY, activity, what, severity, status)


def _api(what: str, activity: int, severity: int = INFORMATIONAL, status: int = SUCCESS) -> Class:
    return Class(API, activity, what, severity, status)


# What an earlier version recorded and `tenants.audit_events.EVENTS` no longer has.
UNKNOWN = _api("event", OTHER)

CLASSES = {
    "tenants.service_role.opened": _entity("service role", 1),
    "tenants.tenant.created": _entity("organisation", 1),
    "tenants.tenant.closed": _entity("organisation", 4, CRITICAL),
    "tenants.person.erased": _entity("name of a person", 4, MEDIUM),
    "keys.closing.requested": _entity("closing of the organisation", 1, HIGH),
    "keys.closing.approved": _entity("closing of the organisation", 10, HIGH),
    "keys.closing.refused": _entity("closing of the organisation", 4, MEDIUM, FAILURE),
    "keys.closing.stopped": _entity("closing of the organisation", 4, MEDIUM, FAILURE),
    "keys.closing.completed": _entity("closing of the organisation", OTHER, HIGH),
    "keys.closing.receipt_signed": _entity("receipt of the closing", 1, HIGH),
    "keys.restore.held": _entity("hold after a restore", 1, CRITICAL),
    "keys.restore.confirmed": _entity("hold after a restore", 3, HIGH),
    "keys.restore.release_requested": _entity("hold after a restore", 3, HIGH),
    "keys.restore.release_refused": _entity("hold after a restore", 3, MEDIUM, FAILURE),
    "keys.restore.ended": _entity("hold after a restore", 4, HIGH),
    "keys.database.checked": _entity("database", 3, HIGH),
    "tenants.member.invited": _entity("invitation", 1),
    "tenants.invitation.resent": _entity("invitation", 3),
    "tenants.invitation.withdrawn": _entity("invitation", 4),
    "tenants.member.joined": _account(1),
    "tenants.member.removed": _account(6),
    "tenants.second_factor.reset": _account(11, MEDIUM),
    "tenants.account.switched_off": _account(5, MEDIUM),
    "tenants.account.switched_on": _account(2),
    "tenants.staff.created": _account(1),
    "tenants.staff.carried": _account(OTHER),
    "tenants.staff.regrouped": _account(OTHER, LOW),
    "tenants.recovery.requested": _entity("recovery", 1, MEDIUM),
    "tenants.recovery.announced": _entity("recovery", 10, HIGH),
    "tenants.recovery.withdrawn": _entity("recovery", 4),
    "tenants.recovery.objected": _entity("recovery", 4, HIGH),
    "tenants.recovery.done": _entity("recovery", OTHER, HIGH),
    "tenants.address.change_requested": _account(OTHER),
    "tenants.member.address_changed": _account(OTHER, LOW),
    "tenants.member.sign_in_changed": _account(OTHER, LOW),
    "tenants.account.sign_in_changed": _account(OTHER, LOW),
    "tenants.member.left": _account(6),
    "tenants.member.role_changed": Class(ACCESS, 1, severity=LOW),
    "tenants.second_person.required": _entity("second person", 8),
    "tenants.second_person.dropped": _entity("second person", 9, MEDIUM),
    "tenants.second_person.short": _entity("second person", OTHER, MEDIUM, FAILURE),
    "tenants.approval.requested": _entity("approval", 1),
    "tenants.approval.approved": _entity("approval", 3),
    "tenants.approval.refused": _entity("approval", 3, LOW, FAILURE),
    "tenants.approval.withdrawn": _entity("approval", 4),
    "tenants.token.minted": _entity("automation token", 1, LOW),
    "tenants.token.revoked": _entity("automation token", 4),
    "tenants.head_recipient.added": _entity("recipient of log heads", 1, LOW),
    "tenants.head_recipient.removed": _entity("recipient of log heads", 4, LOW),
    "tenants.log_stream.added": _entity("log stream", 1, MEDIUM),
    "tenants.log_stream.changed": _entity("log stream", 3, LOW),
    "tenants.log_stream.secret_rotated": _entity("log stream", 3, LOW),
    "tenants.log_stream.switched_off": _entity("log stream", 9, MEDIUM),
    "tenants.log_stream.switched_on": _entity("log stream", 8),
    "tenants.log_stream.removed": _entity("log stream", 4, MEDIUM),
    "tenants.log_stream.tested": _entity("log stream", 2),
    "tenants.log_stream.replayed": _entity("log stream", 3, LOW),
    "tenants.log_stream.behind": _entity("log stream", OTHER, MEDIUM, FAILURE),
    "tenants.log_stream.lines_rejected": _entity("log stream", OTHER, MEDIUM, FAILURE),
    "tenants.log_stream.failed_for_days": _entity("log stream", 9, HIGH, FAILURE),
    "tenants.domain.added": _entity("mail domain", 1),
    "tenants.domain.verified": _entity("mail domain", 10, LOW),
    "tenants.domain.lapsed": _entity("mail domain", 11, MEDIUM, FAILURE),
    "tenants.domain.asked_again": _entity("mail domain", 2),
    "tenants.domain.removed": _entity("mail domain", 4),
    "tenants.sign_on.set_up": _entity("sign-on", 1, MEDIUM),
    "tenants.sign_on.changed": _entity("sign-on", 3, MEDIUM),
    "tenants.sign_on.saml_set_up": _entity("sign-on", 1, MEDIUM),
    "tenants.sign_on.saml_changed": _entity("sign-on", 3, MEDIUM),
    "tenants.sign_on.directory_changed": _entity("sign-on", 3, MEDIUM),
    "tenants.sign_on.look_failed": _entity("sign-on", 2, LOW, FAILURE),
    "tenants.sign_on.certificate_ends": _entity("sign-on", OTHER, MEDIUM),
    "tenants.sign_on.mode_changed": _entity("sign-on", 3, MEDIUM),
    "tenants.sign_on.removed": _entity("sign-on", 4, MEDIUM),
    "tenants.sign_on.linked": _account(OTHER, LOW),
    "tenants.sign_on.unlinked": _account(OTHER, LOW),
    "tenants.member.joined_by_sign_on": _account(1),
    "tenants.member.left_with_sign_on": _account(6),
    "tenants.member.signed_on": Class(AUTHENTICATION, 1),
    "tenants.directory.set_up": _entity("directory", 1, MEDIUM),
    "tenants.directory.changed": _entity("directory", 3, MEDIUM),
    "tenants.directory.token_made": _entity("token of the directory", 1, LOW),
    "tenants.directory.token_revoked": _entity("token of the directory", 4),
    "tenants.directory.group_role_changed": Class(GROUP, 1, severity=LOW),
    "tenants.directory.removed": _entity("directory", 4, MEDIUM),
    "tenants.directory.user_created": _account(1),
    "tenants.directory.user_changed": _account(OTHER),
    "tenants.directory.user_deleted": _account(6),
    "tenants.directory.group_created": _entity("group of the directory", 1),
    "tenants.directory.group_changed": _entity("group of the directory", 3),
    "tenants.directory.group_deleted": _entity("group of the directory", 4),
    "tenants.directory.break_glass_kept": _account(OTHER, MEDIUM),
    "tenants.directory.no_owner_left": _account(OTHER, HIGH),
    "tenants.member.joined_by_directory": _account(1),
    "tenants.member.ended_by_directory": _account(6),
    "tenants.service_account.created": _entity("service account", 1),
    "tenants.client.refused": _api("service account", OTHER, MEDIUM, FAILURE),
    "tenants.service_account.secret_rotated": _entity("service account", 3),
    "tenants.service_account.secret_revoked": _entity("service account", 3),
    "tenants.service_account.disabled": _entity("service account", 9, LOW),
    "tenants.service_account.enabled": _entity("service account", 8, LOW),
    "tenants.service_account.changed": _entity("service account", 3, LOW),
    "tenants.service_account.let_in": _entity("service account", 6, LOW),
    "tenants.service_account.shut_out": _entity("service account", 7, LOW),
    "tenants.step.changed": _entity("step", 3),
    "tenants.tenant.viewed": _api("organisation", 2),
    "keys.documents.chosen": _entity("documents", 3),
    "keys.link.made": _entity("link", 1, LOW),
    "keys.link.revoked": _entity("link", 4),
    "keys.link.opened": _entity("link", 2),
    "keys.arns.proposed": _entity("proposal", 1),
    "keys.arns.confirmed": _entity("proposal", 3),
    "keys.arns.refused": _entity("proposal", 3, LOW, FAILURE),
    "keys.registration.drafted": _entity("registration", 3),
    "keys.registration.submitted": _entity("registration", 6),
    "keys.registration.moved": _entity("registration", 5),
    "keys.registration.tested": _entity("registration", 3),
    "keys.activation.chosen": _entity("registration", 3),
    "keys.activation.pressed": _entity("registration", 3),
    "keys.activation.missed": _entity("registration", 10, MEDIUM, FAILURE),
    "keys.registration.activated": _entity("key", 10, LOW),
    "keys.registration.rejected": _entity("registration", 3, LOW, FAILURE),
    "keys.service_roles.short": _entity("service role", OTHER, MEDIUM),
    "keys.policy.drifted": _entity("policy", 3, HIGH),
    "keys.policy.resolution_requested": _entity("policy", OTHER, MEDIUM),
    "keys.policy.resolution_approved": _entity("policy", OTHER, MEDIUM),
    "keys.policy.resolution_refused": _entity("policy", OTHER, MEDIUM, FAILURE),
    "keys.policy.restoration_begun": _entity("policy", OTHER, HIGH),
    "keys.policy.restoration_reviewed": _entity("policy", 2),
    "keys.policy.review_overdue": _entity("policy", OTHER, HIGH, FAILURE),
    "keys.policy.resolved": _entity("policy", 3),
    "keys.policy.not_resolved": _entity("policy", 3, HIGH, FAILURE),
    "keys.configuration.requested": _entity("configuration", 1),
    "keys.configuration.approved": _entity("configuration", 3),
    "keys.configuration.tried_again": _entity("configuration", 3),
    "keys.configuration.written": _entity("policy", 3),
    "keys.configuration.removed": _entity("policy", 3),
    "keys.configuration.failed": _entity("configuration", 3, MEDIUM, FAILURE),
    "keys.configuration.waits_for_kore": _entity("configuration", 3, LOW, FAILURE),
    "keys.test.requested": _api("encryption test", 1),
    "keys.test.finished": _api("encryption test", OTHER),
    "keys.test.refused": _api("encryption test", OTHER, LOW, FAILURE),
    "keys.test.waits_for_kore": _api("encryption test", OTHER, LOW, FAILURE),
    "keys.database.admitted": _entity("database", 8, HIGH),
    "keys.key.suspended": _entity("key", 12, HIGH),
    "keys.key.deletion_scheduled": _entity("key", 4, CRITICAL),
    "keys.key.resumed": _entity("key", 13, LOW),
    "keys.key.asked_again": _entity("key", 2),
    "keys.key.unreachable": _entity("key", 2, HIGH, FAILURE),
    "keys.incident.opened": _entity("incident", 1, HIGH),
    "keys.incident.closed": _entity("incident", 4),
    "keys.incident.closed_by_hand": _entity("incident", 4, LOW),
    "keys.incident.probes_requested": _entity("incident", 3),
    "keys.key.trust_too_wide": _entity("role", 2, CRITICAL, FAILURE),
    "keys.drill.started": _entity("revocation drill", 1),
    "keys.drill.finished": _entity("revocation drill", OTHER),
    "keys.drill.without_result": _entity("revocation drill", OTHER, LOW, FAILURE),
    "keys.drill.ended": _entity("revocation drill", 4, LOW, FAILURE),
    "keys.key.recovered": _entity("key", 13, LOW),
    "keys.key.caches_dropped": _entity("key", 3, MEDIUM),
    "keys.branch_key.created": _entity("branch key", 1),
    "keys.branch_key.moved": _entity("branch key", 5),
    "keys.branch_key.stays": _entity("branch key", 5, MEDIUM, FAILURE),
    "keys.branch_key.rotation_requested": _entity("branch key", 3),
    "keys.registration.kept": _entity("registration", 5, LOW),
    "keys.registration.horizon_ended": _entity("registration", 4, HIGH),
    "keys.kept_key.at_risk": _entity("key", 2, HIGH, FAILURE),
    "keys.registration.withdrawn": _entity("registration", 4),
    "keys.key.left": _entity("key", 7, HIGH),
    "keys.latency.changed": _entity("organisation", 3, LOW),
    "support.bulk.requested": _entity("bulk operation", 1),
    "support.bulk.approved": _entity("bulk operation", 3),
    "support.bulk.refused": _entity("bulk operation", 3, LOW, FAILURE),
    "support.bulk.stopped": _entity("bulk operation", 9),
    "support.bulk.finished": _entity("bulk operation", OTHER),
    "support.staff.exported": _api("list of people", 2),
    "support.staff.reviewed": _api("list of people", 2),
    "support.fleet.exported": _api("list of organisations", 2, LOW),
    "keys.uses.rolled_up": _api("uses of the key", 2),
    "keys.branch_keys.rebuilt": _entity("branch key", 1, HIGH),
    "keys.log_head.refused": _entity("head of the log", 1, CRITICAL, FAILURE),
    "keys.log_head.mailed": _entity("head of the log", 2),
    "keys.log.loss_declared": _entity("log", 4, CRITICAL),
    "keys.log.organisation_lost": _entity("log", 4, CRITICAL),
    "keys.uses.archived": _entity("uses of the key", 3),
    "keys.loads.archived": _entity("unwraps of branch keys", 3),
    "keys.log.archived": _entity("log", 3),
    "keys.log.reopened": _entity("log", 1, HIGH),
    "keys.log.restored": _entity("log", 1, HIGH),
    "support.ticket.opened": _entity("ticket", 1),
    "support.ticket.answered": _entity("ticket", 3),
    "support.ticket.closed": _entity("ticket", 11),
    "support.incident.taken": _entity("incident", 3),
    "support.incident.mails_released": _entity("incident", 3),
    "support.incident.mails_dropped": _entity("incident", 3),
    "support.incident.told": _entity("incident", 3, MEDIUM),
    "support.on_call.tested": _api("on call", 2),
    "support.ticket.reopened": _entity("ticket", 10),
    "support.ticket.assigned": _entity("ticket", 3),
    "support.ticket.changed": _entity("ticket", 3),
    "support.ticket.merged": _entity("ticket", 5),
    "support.mail.refused": _entity("mail", 1, LOW, FAILURE),
    "support.mails.chosen": _entity("choice of mails", 3),
    "support.webhook.added": _entity("webhook", 1, MEDIUM),
    "support.webhook.changed": _entity("webhook", 3, LOW),
    "support.webhook.secret_rotated": _entity("webhook", 3, LOW),
    "support.webhook.switched_off": _entity("webhook", 9, LOW),
    "support.webhook.switched_on": _entity("webhook", 8),
    "support.webhook.removed": _entity("webhook", 4, LOW),
    "support.webhook.tested": _entity("webhook", 2),
    "support.webhook.replayed": _entity("webhook", 3),
    "support.webhook.given_up": _entity("webhook", OTHER, MEDIUM, FAILURE),
    "support.webhook.failed_for_days": _entity("webhook", 9, MEDIUM, FAILURE),
}
