"""What people have to know of a key that is not told by its status:
a deletion under way, trust too wide, material that ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from keys import usage
from keys.arns import KeyArn
from keys.health.questions import INSECURE
from keys.models import BranchKey, KeyHealth, KeyRegistration


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
        found.append(Note("kms_key_pending_import", _IMPORT, is_urgent=True))
    if registration.reason == INSECURE or health.insecure_since is not None:
        found.append(Note(INSECURE, _INSECURE, is_urgent=True, at=health.insecure_since))
    if registration.reason == "kms_wrong_key":
        found.append(
            Note("kms_wrong_key", f"Another key than {registration.key_arn} answers. Check the CMK ARN (step 1).")
        )
    found += [Note("test_warning", str(text)) for text in registration.warnings]
    return found


MANY = 1_000  # branch keys that a page counts

_IMPORT = (
    "The key has no key material: it has expired or was deleted. "
    "Until you import the same material again, nothing that the key protects opens."
)
_INSECURE = (
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
    some = "up to" if made.is_exact else "more than"
    lost = (
        f"{'at least ' if branch_keys == MANY else ''}{_many(branch_keys, 'branch key')} under it, "
        f"and with {'it' if branch_keys == 1 else 'them'} {some} {_many(made.keys, 'data key')} made so far, "
        "can never be opened again by anybody"
        if branch_keys
        else "it is gone for ever; no data is under it yet"
    )
    text = (
        f"On {at.day} {at:%B %Y}, {at:%H:%M} UTC, AWS deletes the key. Then {lost}. "
        "Cancel the deletion and enable the key:"
    )
    command = (
        f"aws kms cancel-key-deletion --region {arn.region} --key-id {registration.key_arn} && "
        f"aws kms enable-key --region {arn.region} --key-id {registration.key_arn}"
    )
    return Note("kms_key_pending_deletion", text, is_urgent=True, command=command, at=at)


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
