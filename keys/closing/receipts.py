"""The two receipts of a closing: what was destroyed, where copies still are and until when; then, that they are gone.

A receipt is signed as copies of branch keys and heads of the log are, over a text that begins with its own purpose, and
published beside the heads. It says of each place how that is known: `verified` is what this system looked at, `bounded`
what its own code cannot exceed, and `declared` what a setting of whoever operates it says.
"""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from byokportal import clock
from byokportal.errors import DomainError
from keys import errors, head_signing
from keys.aws import signing
from keys.closing import destroying
from keys.closing.copies import Copies
from keys.models import BranchKey, BranchKeyWrapping, Closing, ClosingReceipt
from tenants import audit, published_heads

WHAT = "byok closing receipt, v1"  # stands in what is signed, so that no other signature of the key fits
BY_DIGEST = f"{WHAT}, by digest"  # in what is signed of a receipt that is longer than KMS signs
LONGEST_IN_MEMORY = 900  # seconds: no revocation latency is longer


class ReceiptRefused(Exception):
    """A document is no receipt of ours; the message says why."""


def last_copy(closing: Closing, copies: Copies) -> datetime:
    """Return when the last copy of the keys ends, as far as it is known now."""
    assert closing.erased_at is not None
    dates = [closing.erased_at + timedelta(seconds=LONGEST_IN_MEMORY), backups_end(closing)]
    if copies.until:
        dates.append(datetime.fromisoformat(copies.until))
    return max(dates)


def backups_end(closing: Closing) -> datetime:
    """Return when the last backup ends that holds the keys: one that was made just before they were destroyed."""
    assert closing.erased_at is not None
    return closing.erased_at + timedelta(days=settings.BACKUP_RETENTION_DAYS)


def first_body(closing: Closing, copies: Copies, ends_at: datetime) -> dict[str, Any]:
    """Return what the first receipt says."""
    assert closing.erased_at is not None
    backups, memory = backups_end(closing), closing.erased_at + timedelta(seconds=closing.facts["latency"])
    places = [
        _place("database", "ended", "verified", closing.erased_at, "Branch keys and their earlier wrappings: deleted."),
        _place("memory", "held", "bounded", memory, "Opened branch keys in our processes, told to drop them at once."),
        _place("services", "held", "bounded", memory, "Data keys that platform services had opened before."),
        _place(
            "backups",
            "held",
            "declared",
            backups,
            "Backups of the database, with its write-ahead log and the pages that the deletion left in its files.",
        ),
        _place("replicas", "held", "declared", backups, "Read replicas follow the deletion; one that does not follow."),
    ]
    return {
        **_facts(closing, 1),
        "places": [*places, *_of_copies(copies)],
        "last_copy_ends_at": _written(ends_at),
        "policies_still_name": destroying.policies_name(closing.tenant),
        "what_stays": "The log and its seal, this receipt, and the organisation's id, name and External ID.",
    }


def second_body(closing: Closing, copies: Copies) -> dict[str, Any] | None:
    """Return what the second receipt says; None while something cannot be said yet: `what_is_left` has it in words."""
    if what_is_left(closing, copies):
        return None
    now, first = clock.now(), closing.receipts.get(number=1)
    places = [
        _place("database", "ended", "verified", now, "No branch key and no wrapping of the organisation is there."),
        _place("memory", "ended", "bounded", now, "No process keeps an opened branch key for so long."),
        _place("services", "ended", "bounded", now, "No data key may be kept for so long."),
        _place("backups", "ended", "declared", now, f"No backup is kept for more than {_days()} days."),
        _place("replicas", "ended", "declared", now, f"No state is kept for more than {_days()} days."),
    ]
    if copies.bucket:
        places.append(_place("copies", "ended", "verified", now, "The bucket was listed: no version is left."))
    return {
        **_facts(closing, 2),
        "first": {"signed_at": first.statement["signed_at"], "signature": first.signature},
        "places": places,
        "policies_still_name": [],
    }


def what_is_left(closing: Closing, copies: Copies) -> str:
    """Return why the second receipt has to wait, in a sentence; "": it need not."""
    if destroying.policies_name(closing.tenant):
        return "Our policies still name a role of it."
    tenant = closing.tenant
    if BranchKey.objects.of(tenant).exists() or BranchKeyWrapping.objects.filter(tenant=tenant).exists():
        return "The database holds a branch key or a wrapping of it."
    if copies.left is None:
        return f"Whether copies are left in the bucket cannot be told: {copies.why}"[:300]
    if copies.left:
        return f"{copies.left} copies are left in the bucket {copies.bucket}: {copies.why}"[:300]
    return ""


def require_signable() -> None:
    """See that a receipt can be signed and published: asked before anything is destroyed, of the key and the folder
    themselves, because settings do not tell. What is signed here is no receipt.

    Raises:
        ReceiptNotSigned: with what is in the way.
    """
    text = audit.canonical({"what": "byok closing, v1: receipts can be signed", "at": _written(clock.now())}).encode()
    try:
        signer = head_signing.signer()
        if signer is None:
            raise errors.ReceiptNotSigned(why="No key is set that signs: SEAL_KMS_KEY_ARN or SEAL_KEY.")
        if not head_signing.verifies(signer.public, signer.sign(text), text):
            raise errors.ReceiptNotSigned(why="The key has made a signature that is not its own.")
        published_heads.folder().try_out()
    except errors.ReceiptNotSigned:
        raise
    except (DomainError, ImproperlyConfigured) as error:
        raise errors.ReceiptNotSigned(why=str(error)[:200]) from error
    except OSError as error:
        why = f"SEAL_HEADS_DIR takes no file ({error.strerror or type(error).__name__})."
        raise errors.ReceiptNotSigned(why=why) from error


def signed_text(body: dict[str, Any]) -> bytes:
    """Return what is signed of a receipt: its canonical JSON, and of one that is too long for KMS its digest."""
    text = audit.canonical(body).encode()
    if len(text) <= signing.LONGEST:
        return text
    return audit.canonical({"what": BY_DIGEST, "sha256": hashlib.sha256(text).hexdigest()}).encode()


def issue(closing: Closing, number: int, body: dict[str, Any]) -> ClosingReceipt | None:
    """Sign a receipt, publish it outside the database, and return the row of it, not saved; None where no key signs.

    One that was published before, by a process that was killed then, is taken as it is.

    Raises:
        ReceiptRefused: what was published under its name is none of ours.
        DomainError: AWS does not answer as it should.
    """
    signer = head_signing.signer()
    if signer is None:
        return None
    name, outside = f"closing-{closing.pk}-{number}.json", published_heads.folder()
    document = outside.receipt(name)
    if document is None:
        text = signed_text(body)
        signature = signer.sign(text)
        if not head_signing.verifies(signer.public, signature, text):
            raise RuntimeError("the key has made a signature that is not its own")
        document = {
            "body": body,
            "key_id": head_signing.key_id(signer.public),
            "public_key": base64.b64encode(signer.public).decode(),
            "signature": base64.b64encode(signature).decode(),
        }
        if not outside.write_receipt(name, document):
            document = outside.receipt(name) or {}
    said = verified(document, public=signer.public)
    if (said["closing"], said["number"]) != (str(closing.pk), number):
        raise ReceiptRefused(f"{name} is another receipt")
    return ClosingReceipt(
        closing=closing,
        number=number,
        body=audit.canonical(said),
        signature=document["signature"],
        public_key=document["public_key"],
        signed_at=datetime.fromisoformat(said["signed_at"]),
    )


def document_of(receipt: ClosingReceipt) -> dict[str, Any]:
    """Return a receipt as people keep it: body, key and signature."""
    return {
        "body": json.loads(receipt.body),
        "key_id": head_signing.key_id(base64.b64decode(receipt.public_key)),
        "public_key": receipt.public_key,
        "signature": receipt.signature,
    }


def verified(document: dict[str, Any], *, public: bytes) -> dict[str, Any]:
    """Return what a receipt says, after checking that the key signed it.

    Raises:
        ReceiptRefused: it did not, or it is no receipt of this system.
    """
    try:
        body, signature = dict(document["body"]), base64.b64decode(document["signature"], validate=True)
        text = signed_text(body)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ReceiptRefused("it is no receipt in form") from error
    if not head_signing.verifies(public, signature, text):
        raise ReceiptRefused("the key did not sign it")
    if (body.get("what"), body.get("origin")) != (WHAT, settings.BASE_URL):
        raise ReceiptRefused("it is of another system")
    return body


@dataclass(frozen=True, slots=True)
class Doubt:
    """A published receipt that nothing proves.

    Args:
        tenant: whom it names as closed; None: nobody that can be read.
    """

    why: str
    tenant: uuid.UUID | None


def published() -> tuple[dict[uuid.UUID, dict[str, Any]], dict[str, Doubt]]:
    """Return what was closed as published receipts say, by organisation, and by name those that nothing proves."""
    signer = head_signing.signer()
    closed: dict[uuid.UUID, dict[str, Any]] = {}
    doubted: dict[str, Doubt] = {}
    for name, document in published_heads.folder().receipts():
        try:
            if signer is None:
                raise ReceiptRefused("no key is set to check it by")
            body = verified(document, public=signer.public)
            closed[uuid.UUID(body["tenant"])] = body
        except (ReceiptRefused, KeyError, ValueError) as error:
            doubted[name] = Doubt(str(error), _named(document))
    return closed, doubted


def _named(document: dict[str, Any]) -> uuid.UUID | None:
    try:
        return uuid.UUID(document["body"]["tenant"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _facts(closing: Closing, number: int) -> dict[str, Any]:
    return {
        "what": WHAT,
        "origin": settings.BASE_URL,
        "closing": str(closing.pk),
        "number": number,
        "tenant": str(closing.tenant_id),
        "name": closing.tenant.name,
        "erased_at": _written(closing.erased_at),
        "signed_at": _written(clock.now()),
        "destroyed": {name: closing.facts[name] for name in ("branch_keys", "wrappings", "under")},
    }


def _of_copies(copies: Copies) -> list[dict[str, str]]:
    if copies.left == 0:
        if not copies.bucket:
            return []
        text = f"Copies of branch keys in the bucket {copies.bucket}: every version deleted, none is left."
        return [_place("copies", "ended", "verified", clock.now(), text)]
    known = f"{copies.left} versions are left" if copies.left else "how many are left cannot be told"
    text = f"Copies of branch keys in the bucket {copies.bucket or '(not set any more)'}: {known}."
    return [_place("copies", "held", "declared", datetime.fromisoformat(copies.until), text)]


def _place(place: str, state: str, how: str, until: datetime, text: str) -> dict[str, str]:
    return {"place": place, "state": state, "how": how, "until": _written(until), "text": text}


def _written(at: datetime | None) -> str:
    assert at is not None
    return at.astimezone(UTC).isoformat(timespec="seconds")


def _days() -> str:
    return f"{settings.BACKUP_RETENTION_DAYS:g}"
