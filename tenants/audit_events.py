"""Which events the log may hold, each with its sentence, and the words of the codes that stand in them."""

from __future__ import annotations

from byokportal.translation import lazy

# Name → sentence. A name that is not here cannot be recorded; placeholders are filled from the event's data.
EVENTS = {
    "tenants.service_role.opened": lazy("The service role {service_role_arn} was opened for new tenants."),
    "tenants.tenant.created": lazy("The organisation {name} was created."),
    "tenants.tenant.closed": lazy(
        "The organisation was closed for good. {branch_keys} branch keys and {wrappings} earlier wrappings were "
        "destroyed: {reason}"
    ),
    "tenants.member.invited": lazy("{email} was invited as {role}."),
    "tenants.invitation.resent": lazy("The invitation of {email} was sent again."),
    "tenants.invitation.withdrawn": lazy("The invitation of {email} was withdrawn: {reason}"),
    "tenants.member.joined": lazy("{email} joined as {role}; invited by {invited_by}."),
    "tenants.member.removed": lazy("{email} was removed: {reason}"),
    "tenants.second_factor.reset": lazy("The second factor of {email} was reset: {reason}"),
    "tenants.account.switched_off": lazy("The account of {email} was switched off by Kore.ai: {reason}"),
    "tenants.account.switched_on": lazy("The account of {email} was switched on again by Kore.ai: {reason}"),
    "tenants.person.erased": lazy("The name of {person} was erased: {reason}"),
    "tenants.staff.created": lazy("{email} was made staff ({groups}): {reason}"),
    "tenants.staff.carried": lazy("{email} was let in by {by} at {since}; the line that said so goes to the archive."),
    "tenants.staff.regrouped": lazy("{email} is now in {groups}: {reason}"),
    "tenants.recovery.requested": lazy("Kore.ai asks for a recovery, {what}: {email}. {reason}"),
    "tenants.recovery.announced": lazy(
        "Kore.ai announces a recovery, {what}: {email}. Until {until} every member may object. {reason}"
    ),
    "tenants.recovery.withdrawn": lazy("Kore.ai withdrew the recovery: {reason}"),
    "tenants.recovery.objected": lazy("{by} objected to the recovery, which ends it."),
    "tenants.recovery.done": lazy("The recovery is done, {what}: {email}."),
    "tenants.address.change_requested": lazy("Another mail address was asked for: {email}."),
    "tenants.member.address_changed": lazy("The mail address {old} became {email}."),
    "tenants.member.sign_in_changed": lazy("How {email} signs in was changed: {what}."),
    "tenants.account.sign_in_changed": lazy("How {email} signs in was changed: {what}."),
    "tenants.member.left": lazy("{email} left the organisation."),
    "tenants.member.role_changed": lazy("{email} became {role}."),
    "tenants.second_person.required": lazy("From now on a second person approves what takes a key or people away."),
    "tenants.second_person.dropped": lazy("No second person is needed any more: {reason}"),
    "tenants.second_person.short": lazy(
        "Without {email} fewer than two owners and admins are left: nobody can approve what waits for a second person. "
        "Let somebody else in, who may approve after 72 hours."
    ),
    "tenants.approval.requested": lazy("A second person was asked to approve: {what}. {reason}"),
    "tenants.approval.approved": lazy("It was approved: {what}. {email} had asked for it."),
    "tenants.approval.refused": lazy("It was refused: {what}. {email} had asked for it. {reason}"),
    "tenants.approval.withdrawn": lazy("It is no longer asked for: {what}."),
    "tenants.token.minted": lazy("The automation token {name} was made."),
    "tenants.token.revoked": lazy("The automation token {name} was revoked."),
    "tenants.head_recipient.added": lazy("The head of the log is mailed to {email} once a day."),
    "tenants.head_recipient.removed": lazy("The head of the log is no longer mailed to {email}."),
    "tenants.log_stream.added": lazy(
        "A stream of the log to {origin} was added, {description} ({format}); it begins after line {after}."
    ),
    "tenants.log_stream.changed": lazy("The stream of the log to {origin}, {description}, was changed: {what}."),
    "tenants.log_stream.secret_rotated": lazy(
        "The secret of the stream of the log to {origin}, {description}, was rotated; the secret before it signs "
        "for {hours} hours more."
    ),
    "tenants.log_stream.switched_off": lazy("The stream of the log to {origin}, {description}, was switched off."),
    "tenants.log_stream.switched_on": lazy("The stream of the log to {origin}, {description}, was switched on again."),
    "tenants.log_stream.removed": lazy("The stream of the log to {origin}, {description}, was removed."),
    "tenants.log_stream.tested": lazy("A test was sent to the stream of the log {origin}, {description}."),
    "tenants.log_stream.replayed": lazy(
        "The stream of the log to {origin}, {description}, was set back: lines from {number} on are sent again."
    ),
    "tenants.log_stream.behind": lazy(
        "The receiver {origin} of the log, {description}, has failed since {since}; what it lacks waits for it."
    ),
    "tenants.log_stream.lines_rejected": lazy(
        "The receiver {origin} of the log, {description}, took a batch and says that it does not keep {count} of its "
        "lines."
    ),
    "tenants.log_stream.failed_for_days": lazy(
        "The stream of the log to {origin}, {description}, was switched off: its receiver has failed since {since}."
    ),
    "tenants.domain.added": lazy("The mail domain {domain} was named."),
    "tenants.domain.verified": lazy("The mail domain {domain} was verified by its DNS record."),
    "tenants.domain.lapsed": lazy(
        "The DNS record of the mail domain {domain} is gone: nobody signs in by it any more."
    ),
    "tenants.domain.asked_again": lazy("The DNS record of the mail domain {domain} is looked up at once, by hand."),
    "tenants.domain.removed": lazy("The mail domain {domain} was removed: {reason}"),
    "tenants.sign_on.set_up": lazy("A sign-on by {issuer} was set up, with the client {client_id}."),
    "tenants.sign_on.changed": lazy("The sign-on by {issuer} was changed; its client is {client_id}."),
    "tenants.sign_on.saml_set_up": lazy("A sign-on by {issuer} (SAML 2.0) was set up; it signs by {certificates}."),
    "tenants.sign_on.saml_changed": lazy("The sign-on by {issuer} (SAML 2.0) was changed; it signs by {certificates}."),
    "tenants.sign_on.directory_changed": lazy("The directory {issuer} changed what it says of itself: {what}."),
    "tenants.sign_on.look_failed": lazy(
        "What the directory {issuer} says of itself could not be read again: {problem}"
    ),
    "tenants.sign_on.certificate_ends": lazy(
        "The last certificate of the sign-on by {issuer} ends on {on}: then nobody signs in by it any more."
    ),
    "tenants.sign_on.mode_changed": lazy(
        "The sign-on by the organisation's directory became: {mode}. {break_glass} keeps a sign-in without it."
    ),
    "tenants.sign_on.removed": lazy(
        "The sign-on by {issuer} was removed, and with it the people who came by it ({count}): {reason}"
    ),
    "tenants.sign_on.linked": lazy("The account of {email} was linked to the sign-on by {issuer}."),
    "tenants.sign_on.unlinked": lazy("The account of {email} is no longer linked to the organisation's sign-on."),
    "tenants.member.joined_by_sign_on": lazy("{email} joined as {role} by the organisation's sign-on ({issuer})."),
    "tenants.member.left_with_sign_on": lazy(
        "{email} left with the organisation's sign-on, the only way in of the account."
    ),
    "tenants.member.signed_on": lazy("{email} signed in by the organisation's sign-on."),
    "tenants.directory.set_up": lazy(
        "The directory was connected by SCIM; who is in no group that has a role: {default_role}; it may make owners: "
        "{may_make_owners}."
    ),
    "tenants.directory.changed": lazy(
        "What the directory may do was changed; who is in no group that has a role: {default_role}; it may make "
        "owners: {may_make_owners}."
    ),
    "tenants.directory.token_made": lazy("A token for the directory was made; it ends: {ends}."),
    "tenants.directory.token_revoked": lazy("A token of the directory was revoked."),
    "tenants.directory.group_role_changed": lazy(
        "The directory's group {group} gives the role {role} now; before: {old}."
    ),
    "tenants.directory.removed": lazy(
        "The directory was disconnected; the people whom it let in stay as they are ({count}): {reason}"
    ),
    "tenants.directory.user_created": lazy("The directory named {user_name} ({email})."),
    "tenants.directory.user_changed": lazy("The directory changed {user_name} ({email}): {what}."),
    "tenants.directory.user_deleted": lazy("The directory deleted {user_name} ({email})."),
    "tenants.directory.group_created": lazy("The directory named the group {group}."),
    "tenants.directory.group_changed": lazy(
        "The directory changed the group {group}: {added} more in it, {removed} fewer."
    ),
    "tenants.directory.group_deleted": lazy("The directory deleted the group {group}."),
    "tenants.directory.break_glass_kept": lazy(
        "The directory says that {email} is gone or has another role. The membership stays as it is: this owner is the "
        "one who signs in without the organisation's sign-on. Choose another one, and it follows the directory."
    ),
    "tenants.directory.no_owner_left": lazy(
        "The directory took away the last owner, {email}. Nobody can act as an owner now; Kore.ai support recovers one."
    ),
    "tenants.member.joined_by_directory": lazy("{email} joined as {role}; the organisation's directory says so."),
    "tenants.member.ended_by_directory": lazy(
        "The membership of {email} ended, with its sessions, tokens, invitations and requests: {reason}"
    ),
    "tenants.service_account.created": lazy("The service account {name} was created."),
    "tenants.client.refused": lazy(
        "A wrong secret came for {client} from {address}; within an hour that was attempt {count}."
    ),
    "tenants.service_account.secret_rotated": lazy("The secret of the service account {name} was rotated: {reason}"),
    "tenants.service_account.secret_revoked": lazy(
        "The old client secret of the service account {name} was ended: {reason}"
    ),
    "tenants.service_account.disabled": lazy("The service account {name} was disabled: {reason}"),
    "tenants.service_account.enabled": lazy("The service account {name} was enabled again: {reason}"),
    "tenants.service_account.changed": lazy("What the service account {name} may do was changed: {reason}"),
    "tenants.service_account.let_in": lazy("The service account {name} may act for this organisation now: {reason}"),
    "tenants.service_account.shut_out": lazy(
        "The service account {name} no longer acts for this organisation: {reason}"
    ),
    "tenants.step.changed": lazy("Step {step} went from “{old}” to “{new}”."),
    "tenants.tenant.viewed": lazy("Kore.ai support looked at this organisation."),
    "keys.documents.chosen": lazy("What the documents of steps 2 and 3 say beside the guide's policies was chosen."),
    "keys.link.made": lazy("A link for {name} was made: steps 1 to 4 without an account, until {until}."),
    "keys.link.revoked": lazy("The link for {name} was revoked."),
    "keys.link.opened": lazy("The link for {name} was opened."),
    "keys.arns.proposed": lazy("By the link for {name} came {arns}; it waits for an owner or admin."),
    "keys.arns.confirmed": lazy("What came by the link for {name} was taken over."),
    "keys.arns.refused": lazy("What came by the link for {name} was refused."),
    "keys.registration.drafted": lazy("The draft of the registration was changed."),
    "keys.registration.submitted": lazy("The CMK ARN and the Role ARN were shared with Kore.ai."),
    "keys.registration.moved": lazy("The registration went from “{old}” to “{new}”."),
    "keys.registration.tested": lazy(
        "Every check of {key_arn} passed; it goes into service when the organisation wants it."
    ),
    "keys.activation.chosen": lazy("The key goes into service: {when}."),
    "keys.activation.pressed": lazy("The key {key_arn} was asked to go into service now."),
    "keys.activation.missed": lazy(
        "The key {key_arn} did not go into service: {why}. It waits for a person to activate it."
    ),
    "keys.registration.activated": lazy("The key {key_arn} is in service."),
    "keys.registration.rejected": lazy("The registration was rejected at step {step}: {reason}."),
    "keys.service_roles.short": lazy(
        "Our service roles have places for {places} more organisations now, and for {by_quota} by IAM's quotas of our "
        "account: {why}"
    ),
    "keys.policy.drifted": lazy("Our policy {policy_arn} is not as we left it ({found}); it is left as it is."),
    "keys.policy.resolution_requested": lazy("Another support lead was asked about {policy_arn}: {choice}. {reason}"),
    "keys.policy.resolution_approved": lazy("It was approved for {policy_arn}: {choice}. {reason}"),
    "keys.policy.resolution_refused": lazy("It was refused for {policy_arn}: {choice}. {reason}"),
    "keys.policy.restoration_begun": lazy(
        "The last good version of {policy_arn} is restored without a second lead, who has to look at it by {until}: "
        "{reason}"
    ),
    "keys.policy.restoration_reviewed": lazy(
        "The restoration of {policy_arn} was looked at by a second lead: {reason}"
    ),
    "keys.policy.review_overdue": lazy("Nobody has looked yet at the restoration of {policy_arn} by {by}."),
    "keys.policy.resolved": lazy("Our policy {policy_arn} is as the row says again ({choice})."),
    "keys.policy.not_resolved": lazy("Our policy {policy_arn} could not be resolved ({choice}): {reason}."),
    "keys.configuration.requested": lazy("The service-side configuration was requested."),
    "keys.configuration.approved": lazy("The service-side configuration was approved: {reason}"),
    "keys.configuration.tried_again": lazy("The change of our policy for the role {role_arn} is tried again: {reason}"),
    "keys.configuration.written": lazy("Our policy {policy_arn} now names the role {role_arn}."),
    "keys.configuration.removed": lazy("Our policy {policy_arn} no longer names the role {role_arn}."),
    "keys.configuration.failed": lazy("The service-side configuration stopped: {reason}."),
    "keys.configuration.waits_for_kore": lazy(
        "The service-side configuration waits for Kore.ai: something on our own side has to be corrected ({code})."
    ),
    "keys.test.requested": lazy("A test was requested."),
    "keys.test.finished": lazy("The test ended: {verdict}."),
    "keys.test.refused": lazy(
        "AWS refused us in the test. If it is still so at {counts_at}, {what} needs a change (step {step})."
    ),
    "keys.test.waits_for_kore": lazy(
        "The test waits for Kore.ai: something on our own side has to be corrected ({code})."
    ),
    "keys.database.admitted": lazy("The database {incarnation} was admitted to give out keys: {reason}"),
    "keys.database.checked": lazy(
        "The restored database followed the log ({state}); {held} organisations wait for their owners: {reason}"
    ),
    "keys.restore.held": lazy(
        "Our database came back from a backup and knows nothing of this organisation from {lost_from} to {lost_to}. "
        "No key is given out until an owner confirms what it knows: {reason}"
    ),
    "keys.restore.confirmed": lazy(
        "An owner confirmed what the restored database knows of people, suspensions, tokens and services ({digest})."
    ),
    "keys.restore.ended": lazy("Keys are given out again after the restore: {reason}"),
    "keys.restore.release_requested": lazy(
        "Another support lead was asked to give out keys again after the restore, without an owner: {reason}"
    ),
    "keys.restore.release_refused": lazy("It was refused to give out keys without an owner: {reason}"),
    "keys.key.suspended": lazy("The key was suspended by {suspended_by}: {reason}"),
    "keys.key.deletion_scheduled": lazy("AWS deletes {key_arn} on {at}; nobody opens then what it protects."),
    "keys.key.resumed": lazy("The key is asked again after Resume: {reason}"),
    "keys.key.asked_again": lazy("AWS was asked about the key at once, by hand."),
    "keys.key.unreachable": lazy("The key could not be asked: {reason}."),
    "keys.incident.opened": lazy(
        "AWS refuses organisations on {service_role_arn} ({count}), and it is our doing: {why}. "
        "No key is suspended for it."
    ),
    "keys.incident.closed": lazy("The incident on {service_role_arn} is over."),
    "keys.incident.closed_by_hand": lazy(
        "A person closed the incident on {service_role_arn}. "
        "What AWS refuses since before then counts as the organisations' doing: {reason}"
    ),
    "keys.incident.probes_requested": lazy(
        "The keys of {count} organisations on {service_role_arn} are asked again now: {reason}"
    ),
    "keys.key.trust_too_wide": lazy(
        "AWS let us become the role without the right External ID. Seen once more, the key is suspended."
    ),
    "keys.drill.started": lazy(
        "A revocation drill was started; service has to stop within {seconds} seconds of AWS's first refusal."
    ),
    "keys.drill.finished": lazy(
        "The revocation drill is done: every process had stopped {stopped_after} seconds after AWS's first refusal."
    ),
    "keys.drill.without_result": lazy(
        "The revocation drill has no result: no process held a key when AWS refused us, so nothing had to stop."
    ),
    "keys.drill.ended": lazy("The revocation drill ended before it was done: {reason}"),
    "keys.key.recovered": lazy("The key answers again and is in service."),
    "keys.key.caches_dropped": lazy("All copies of unwrapped keys were told to go: {reason}"),
    "keys.branch_key.created": lazy("A branch key was made under {key_arn}."),
    "keys.branch_key.moved": lazy("A branch key was re-encrypted under {key_arn}."),
    "keys.branch_key.stays": lazy("A branch key still opens only with {key_arn}: {reason}."),
    "keys.branch_key.rotation_requested": lazy("A fresh branch key was asked for: {reason}"),
    "keys.registration.kept": lazy(
        "Every branch key has left {key_arn}. That key and the role {role_arn} are needed until {until} all the same: "
        "a backup from before the move opens only with both, and backups are kept for {days}."
    ),
    "keys.registration.horizon_ended": lazy(
        "{key_arn} was given up before its backup horizon ended: "
        "backups from before {since} do not open any more ({count} branch keys): {reason}"
    ),
    "keys.kept_key.at_risk": lazy("{key_arn} is needed until {until}: {why}"),
    "keys.registration.withdrawn": lazy("The registration was withdrawn: {reason}"),
    "keys.key.left": lazy("The organisation gives up its own key; the platform's key takes over: {reason}"),
    "keys.latency.changed": lazy("The revocation latency is now {seconds} seconds."),
    "support.bulk.requested": lazy("It was asked for on {count} organisations: {what}. {reason}"),
    "support.bulk.approved": lazy("A second lead approved it on {count} organisations: {what}. {reason}"),
    "support.bulk.refused": lazy("A second lead refused it on {count} organisations: {what}. {reason}"),
    "support.bulk.stopped": lazy("It was stopped: {what}. {done} done, {refused} refused, {left} left. {reason}"),
    "support.bulk.finished": lazy("It is finished: {what}. {done} done, {refused} refused, {left} left."),
    "support.staff.exported": lazy("The list of our own people was exported: {count}."),
    "support.staff.reviewed": lazy("Who of us may do what was reviewed, {count} people: {reason}"),
    "support.fleet.exported": lazy("The list of organisations was exported: {filters}."),
    "keys.uses.rolled_up": lazy(
        "The uses of the key from {since} to {until} were sealed: {requests} requests for {keys} data keys."
    ),
    "keys.closing.requested": lazy("The closing of the organisation was asked for: {reason}"),
    "keys.closing.approved": lazy("A second lead approved the closing of the organisation: {reason}"),
    "keys.closing.refused": lazy("The closing of the organisation was refused: {reason}"),
    "keys.closing.stopped": lazy("The organisation was not closed, and nothing was destroyed: {why}"),
    "keys.closing.completed": lazy("Our policies name no role of the organisation any more; its closing is complete."),
    "keys.closing.receipt_signed": lazy("Receipt {number} of the closing was signed."),
    "keys.branch_keys.rebuilt": lazy(
        "After a loss in our database, {restored} branch keys came back from their copies and {rewrapped} in a later "
        "wrapping: {reason}"
    ),
    "keys.log_head.refused": lazy("No head of the logs is signed any more: {why}."),
    "keys.log_head.mailed": lazy("The head of the log, with {size} lines, was mailed to {recipients}."),
    "keys.log.loss_declared": lazy(
        "A new log begins with line {number}: the lines {lost_from} to {lost_to} were lost. {decided_by} decided so: "
        "{reason}"
    ),
    "keys.log.organisation_lost": lazy(
        "The organisation {organisation} was younger than the backup: all {lines} lines of its log are lost, and "
        "everything of it in our database. {decided_by} decided so: {reason}"
    ),
    "keys.log.reopened": lazy(
        "{count} published heads of the logs were taken into the restored database, up to number {number} of "
        "{made_at}. {decided_by} decided so: {reason}"
    ),
    "keys.log.restored": lazy(
        "{count} lines of the log were put back from an export. {decided_by} decided so: {reason}"
    ),
    "keys.uses.archived": lazy("Uses of keys from before {until} go to the archive ({requests} requests)."),
    "keys.loads.archived": lazy("Unwraps of branch keys from before {until} go to the archive ({unwraps} calls)."),
    "keys.log.archived": lazy(
        "The lines of this log from before {until} go to the archive, up to line {through}. Kore.ai has them in a "
        "file: open a ticket for it."
    ),
    "support.ticket.opened": lazy("A ticket was opened: {subject}"),
    "support.ticket.answered": lazy("A ticket was answered."),
    "support.ticket.closed": lazy("A ticket was closed: {reason}"),
    "support.incident.taken": lazy("Somebody has taken the incident on {service_role_arn}."),
    "support.incident.mails_released": lazy(
        "Mails to organisations on {service_role_arn} that the incident held back were let go ({count}): {reason}"
    ),
    "support.incident.mails_dropped": lazy(
        "Mails to organisations on {service_role_arn} that the incident held back are not sent ({count}): {reason}"
    ),
    "support.incident.told": lazy("Kore.ai wrote about a fault on its own side: {text}"),
    "support.on_call.tested": lazy("A test was sent to whoever is on call, by {channels}."),
    "support.ticket.reopened": lazy("A ticket was opened again: {reason}"),
    "support.ticket.assigned": lazy("At Kore.ai {assignee} takes care of the ticket “{subject}”."),
    "support.ticket.changed": lazy(
        "The ticket “{subject}” was sorted anew: {topic}, step {step}, priority {priority}."
    ),
    "support.ticket.merged": lazy("The ticket “{subject}” was merged into “{into}”: {reason}"),
    "support.mail.refused": lazy("A mail of {email} to the ticket “{subject}” was not taken: {why}"),
    "support.mails.chosen": lazy("{email} chose which mails to get; not wanted: {unwanted}."),
    "support.webhook.added": lazy("A webhook to {origin} was added, {description}; it gets: {kinds}."),
    "support.webhook.changed": lazy("The webhook to {origin}, {description}, was changed; it gets: {kinds}."),
    "support.webhook.secret_rotated": lazy(
        "The secret of the webhook to {origin}, {description}, was rotated; the old one signs for {hours} hours more."
    ),
    "support.webhook.switched_off": lazy("The webhook to {origin}, {description}, was switched off."),
    "support.webhook.switched_on": lazy("The webhook to {origin}, {description}, was switched on again."),
    "support.webhook.removed": lazy("The webhook to {origin}, {description}, was removed."),
    "support.webhook.tested": lazy("A test was sent to the webhook {origin}, {description}."),
    "support.webhook.replayed": lazy("Deliveries to the webhook {origin}, {description}, are sent again ({count})."),
    "support.webhook.given_up": lazy(
        "Deliveries to the webhook {origin}, {description}, were given up: for a day its receiver did not take them."
    ),
    "support.webhook.failed_for_days": lazy(
        "The webhook to {origin}, {description}, was switched off: its receiver has failed since {since}."
    ),
}

# Codes that stand in sentences, for the catalogs.
CODES = (lazy("owner"), lazy("admin"), lazy("auditor"), lazy("offered"), lazy("required"), lazy("yes"), lazy("no"))
KINDS = (lazy("key"), lazy("setup"), lazy("people"), lazy("sign_on"), lazy("approvals"), lazy("tickets"))
STEP = {
    "not_started": lazy("not started"),
    "in_progress": lazy("in progress"),
    "waiting_for_tenant": lazy("waiting for the organisation"),
    "waiting_for_kore": lazy("waiting for Kore.ai"),
    "failed": lazy("needs a change"),
    "done": lazy("done"),
    "skipped": lazy("skipped"),
}
REGISTRATION = {
    "submitted": lazy("shared"),
    "configuring": lazy("being configured"),
    "testing": lazy("being tested"),
    "rejected": lazy("needs a change"),
    "draft": lazy("draft"),
    "active": lazy("active"),
    "unreachable": lazy("unreachable"),
    "suspended": lazy("suspended"),
    "retiring": lazy("retiring"),
    "retired": lazy("retired"),
}
VERDICT = {
    "pass": lazy("every check passed"),
    "fail": lazy("something needs a change"),
    "unknown": lazy("it cannot be told yet"),
}
STATUSES = {"tenants.step.changed": STEP, "keys.registration.moved": REGISTRATION, "keys.test.finished": VERDICT}
STATUS_FIELDS = {"old", "new", "verdict"}
WHO = {
    "your organisation": lazy("the organisation"),
    "tenant": lazy("the organisation"),
    "aws": "AWS",
    "kore": "Kore.ai",
}
