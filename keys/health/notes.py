"""What people have to know of a key that is not told by its status:
a deletion under way, trust too wide, material that ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.utils.formats import number_format

from byokportal import words
from byokportal.translation import lazy, ngettext
from byokportal.translation import translate as _
from keys import usage
from keys.arns import KeyArn
from keys.health.questions import INSECURE
from keys.models import BranchKey, KeyHealth, KeyRegistration

TEST_WARNING = "test_warning"  # what the last test found worth knowing


@dataclass(frozen=True, slots=True)
class Note:
    """One thing to know.

    Args:
        is_urgent: data will be lost, or strangers can come in.
        command: what undoes it, to paste into a shell; "" when there is none.
        at: until when.
    """

    code: str
    text: str
    is_urgent: bool = False
    command: str = ""
    at: datetime | None = None


def deletion_date(health: KeyHealth) -> datetime | None:
    """Return when AWS deletes the key, None when it is not about to."""
    text = health.key_facts.get("deletion_at")
    return datetime.fromisoformat(text) if text else None


def of(health: KeyHealth) -> list[Note]:
    """Return what is to be known, the most urgent first."""
    registration, found = health.registration, []
    at = deletion_date(health)
    if at is not None:
        found.append(deletion(registration, at))
    if health.key_facts.get("state") == "PendingImport":
        found.append(Note("kms_key_pending_import", _(_IMPORT), is_urgent=True))
    if registration.reason == INSECURE or health.insecure_since is not None:
        found.append(Note(INSECURE, _(_INSECURE), is_urgent=True, at=health.insecure_since))
    if registration.reason == "kms_wrong_key":
        found.append(
            Note(
                "kms_wrong_key",
                _("Another key than %(key)s answers. Check the CMK ARN (step 1).", key=registration.key_arn),
            )
        )
    found += [Note(TEST_WARNING, str(text)) for text in registration.warnings]
    return found


MANY = 1_000  # branch keys that a page counts

_IMPORT = lazy(
    "The key has no key material: it has expired or was deleted. "
    "Until you import the same material again, nothing that the key protects opens."
)
_INSECURE = lazy(
    "AWS lets us become your role without the right External ID, so others could use it too. "
    "Set the trust policy to the document of step 2. Seen twice, the key is suspended; "
    "it comes back by itself after two good answers."
)


def deletion(registration: KeyRegistration, at: datetime) -> Note:
    """Return what a deletion under way takes with it."""
    arn = KeyArn.parse(registration.key_arn)
    under_it = BranchKey.objects.filter(tenant=registration.tenant_id, key_arn=registration.key_arn)
    branch_keys = under_it.order_by()[:MANY].count()
    made = usage.generated(registration.tenant)
    text = _lost(branch_keys, made.keys, is_exact=made.is_exact, at=words.instant(at))
    command = (
        f"aws kms cancel-key-deletion --region {arn.region} --key-id {registration.key_arn} && "
        f"aws kms enable-key --region {arn.region} --key-id {registration.key_arn}"
    )
    return Note("kms_key_pending_deletion", text, is_urgent=True, command=command, at=at)


def _lost(branch_keys: int, data_keys: int, *, is_exact: bool, at: str) -> str:
    if not branch_keys:
        return _(
            "On %(at)s, AWS deletes the key. Then it is gone for ever; no data is under it yet. "
            "Cancel the deletion and enable the key:",
            at=at,
        )
    under = ngettext("%(count)s branch key", "%(count)s branch keys", branch_keys, count=_grouped(branch_keys))
    made = ngettext("%(count)s data key", "%(count)s data keys", data_keys, count=_grouped(data_keys))
    return ngettext(
        "On %(at)s, AWS deletes the key. Then %(branch_keys)s under it, and with it %(data_keys)s made so far, "
        "can never be opened again by anybody. Cancel the deletion and enable the key:",
        "On %(at)s, AWS deletes the key. Then %(branch_keys)s under it, and with them %(data_keys)s made so far, "
        "can never be opened again by anybody. Cancel the deletion and enable the key:",
        branch_keys,
        at=at,
        branch_keys=_("at least %(keys)s", keys=under) if branch_keys == MANY else under,
        data_keys=_("up to %(keys)s", keys=made) if is_exact else _("more than %(keys)s", keys=made),
    )


def _grouped(count: int) -> str:
    return number_format(count, force_grouping=True)
