"""What preflight asks of the seal: does the key sign, and does the directory of the heads take a file."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from byokportal import clock
from byokportal.errors import DomainError
from keys import head_signing
from support.fleet import heartbeats
from support.models import Heartbeat
from support.preflight import findings, our_aws
from support.preflight.findings import Finding, kind
from tenants import published_heads
from tenants.models import LogHead

# The workers of these queues seal and sign: they share the directory, and no other process needs it.
QUEUES = ("checks", "bulk")
# It is no head and no receipt: those are canonical JSON.
MESSAGE = b"preflight of byok"


def look(part: str) -> Iterator[Finding]:
    if not head_signing.is_there():
        yield Finding(part, "ok", "No key is set: nothing is signed.")
        return
    if our_aws.asks_as_base_principal():
        yield _signature(part)
    else:
        yield Finding(part, "ok", "The base principal signs: asked in the container of a worker of the queue bulk.")
    if _seals_here():
        yield _directory(part)
    else:
        text = "SEAL_HEADS_DIR is asked where a worker of checks or bulk was seen: in its container, once beat runs."
        yield Finding(part, "ok", text)


def _signature(part: str) -> Finding:
    remedy = "See that the key is an Ed25519 one, and that the base principal may kms:Sign and kms:GetPublicKey."
    try:
        signer = head_signing.signer()
        assert signer is not None
        is_its_own = head_signing.verifies(signer.public, signer.sign(MESSAGE), MESSAGE)
    except ImproperlyConfigured as error:
        return Finding(part, "fail", f"Nothing can be signed. {error}", remedy)
    except DomainError as error:
        return Finding(part, "fail", f"The key does not sign ({kind(error)}).", remedy)
    if not is_its_own:
        return Finding(part, "fail", "The key makes a signature that is not its own.", remedy)
    return Finding(part, "ok", f"The key signs: {head_signing.key_id(signer.public)}.")


def _seals_here() -> bool:
    """Tell whether a worker that seals or signs was seen on this machine: beat has each of them say so."""
    seen = Heartbeat.objects.filter(kind__in=QUEUES, seen_at__gt=clock.now() - heartbeats.GONE_AFTER)
    here = socket.gethostname()
    return any(name.rpartition("@")[2] == here for name in seen.values_list("name", flat=True))


def _directory(part: str) -> Finding:
    folder, remedy = published_heads.folder(), findings.REMEDIES[part]
    newest = LogHead.objects.published().order_by("-number").first()
    if newest is not None and folder.read(newest.number) is None:
        text = f"Head {newest.number} was published and is not in SEAL_HEADS_DIR here."
        remedy = "Mount the one directory that all workers of the queues checks and bulk share (docs/seal.md)."
        return Finding(part, "fail", text, remedy)
    try:
        _take_a_file(folder.path)
    except OSError as error:
        text = f"SEAL_HEADS_DIR takes no file here ({type(error).__name__}): no head can be published."
        return Finding(
            part, "fail", text, "See that it is there, that our user may write to it, and that link(2) works."
        )
    return Finding(part, "ok", "SEAL_HEADS_DIR takes files, and has what was published.")


def _take_a_file(path: Path) -> None:
    """Make a file and a second name of it, as a head is published, and take both away again."""
    first = path / f".preflight.{secrets.token_hex(8)}"
    second = first.with_suffix(".linked")
    try:
        first.write_bytes(MESSAGE)
        os.link(first, second)
    finally:
        first.unlink(missing_ok=True)
        second.unlink(missing_ok=True)
