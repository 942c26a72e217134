"""Signs the heads of all logs together, once an hour, also when nothing happened: made, signed, published.

The head is that of a Merkle tree whose leaves are the heads of the single logs, each as often as it had grown. It is
made in one transaction; it is signed and published outside of it, and its row says how far it came: what a process
that was killed left is finished by the next run. Before anything is signed, the last published head is read from
outside the database. Where that one is newer than ours, or our trees are not its continuation, nothing is signed any
more until a person has decided (docs/seal.md).
"""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import structlog
from django.conf import settings
from django.db.models import F

from byokportal import clock, leaves, merkle
from keys import head_signing
from tenants import audit, log_proofs, log_trees, published_heads, transactions
from tenants.models import LogHead, LogTree, Sealer, TenantHead

log = structlog.get_logger(__name__)


class Refused(Exception):
    """What was published and what we have do not fit: nothing may be signed."""


def publish_due() -> LogHead | None:
    """Sign and publish the next head if it is due; safe to run anywhere, at any time, by several workers at once.

    Returns:
        the head that was published; None: none is due, none can be signed, or signing was refused.
    """
    pending = LogHead.objects.filter(published_at=None).order_by("number").first()
    if pending is None and not _is_due():
        return None
    signer = head_signing.signer()
    if signer is None:
        return None
    Sealer.objects.get_or_create(pk=1)
    try:
        _compare_with_published()
        head = pending or _make(_verified())
        if head is None:
            return None
        _publish(head, signer)
    except Refused as refused:
        _refuse(str(refused))
        return None
    _allow()
    return head


def published_form(head: LogHead) -> dict[str, Any]:
    """Return a head as it is published outside the database; with the entries it can be restored from there."""
    return {
        **log_proofs.signed(head),
        "entries": [one.entry for one in head.entries.select_related("tree").order_by("position")],
    }


def _is_due() -> bool:
    last = LogHead.objects.order_by("-number").first()
    return last is None or last.at <= clock.now() - timedelta(seconds=settings.SEAL_HEAD_SECONDS)


def _compare_with_published() -> None:
    outside, last = published_heads.folder(), LogHead.objects.order_by("-number").first()
    newest = outside.newest()
    if newest > (last.number if last else 0):
        ours = f"ours is {last.number}" if last else "we have none"
        raise Refused(f"head {newest} was published, and {ours}: the database is older than what was published")
    published = LogHead.objects.published().order_by("-number").first()
    if published is None:
        return
    found = outside.read(published.number)
    if found is None:
        raise Refused(f"head {published.number} was published and is not where heads are published")
    if found["head"] != published.facts:
        raise Refused(f"head {published.number} was published with another content")
    public, signature = base64.b64decode(published.public_key), base64.b64decode(published.signature)
    if not head_signing.verifies(public, signature, published.body.encode()):
        raise Refused(f"the signature of head {published.number} is not that of its content")


def _verified() -> list[int]:
    """Return the trees that have grown since the last head and begin as they stood in it."""
    last = LogHead.objects.published().order_by("-number").first()
    over_all = LogTree.objects.filter(name=LogTree.HEADS).first()
    if last is not None:
        facts = last.facts
        if over_all is None or over_all.size < facts["size"]:
            raise Refused(f"the tree over all logs is smaller than in head {last.number}")
        if log_trees.Kept(over_all).root_at(facts["size"]).hex() != facts["root"]:
            raise Refused(f"the tree over all logs is not the continuation of head {last.number}")
    trees = LogTree.objects.exclude(name=LogTree.HEADS).filter(closed_at=None)
    shrunk = trees.filter(size__lt=F("signed_size")).first()
    if shrunk is not None:
        raise Refused(f"the log {shrunk.name} has {shrunk.size} rows; {shrunk.signed_size} were signed")
    grown = list(trees.filter(size__gt=F("signed_size")).order_by("pk"))
    signed = {
        one.tree_id: one
        for one in TenantHead.objects.filter(tree__in=[tree.pk for tree in grown], size=F("tree__signed_size"))
    }
    for tree in grown:
        before = signed.get(tree.pk)
        if tree.signed_size and before is None:
            raise Refused(f"the log {tree.name} was signed with {tree.signed_size} rows, and no head says so")
        kept = log_trees.Kept(tree)
        if before is not None and kept.root_at(before.size).hex() != before.root:
            raise Refused(f"the log {tree.name} does not begin with the {before.size} rows that were signed")
        if kept.root_at(tree.size).hex() != tree.root:
            raise Refused(f"the tree of the log {tree.name} is not that of its rows")
    return [tree.pk for tree in grown]


def _make(trees: list[int]) -> LogHead | None:
    return transactions.run(lambda: _make_in_transaction(trees))


def _make_in_transaction(trees: list[int]) -> LogHead | None:
    if log_trees.hold() is None or LogHead.objects.filter(published_at=None).exists() or not _is_due():
        # Another worker seals, or has made the head meanwhile.
        return None
    last = LogHead.objects.order_by("-number").first()
    number, at = (last.number + 1 if last else 1), clock.now()
    growing = log_trees.Growing({LogTree.HEADS: None})
    over_all = growing.trees[LogTree.HEADS]
    entries = []
    for tree in LogTree.objects.filter(pk__in=trees).order_by("pk"):
        facts = {"tenant_id": tree.tenant_id, "first": tree.first, "size": tree.size, "root": tree.root}
        entry = TenantHead(head_id=number, tree=tree, position=over_all.size, at=at, **facts)
        hashed = leaves.head_leaf(entry.entry)
        entry.leaf = hashed.hex()
        growing.append(LogTree.HEADS, hashed)
        entries.append(entry)
    growing.save()
    before: dict[str, Any] = last.facts if last else {"size": 0, "root": merkle.EMPTY.hex()}
    head = LogHead(number=number, at=at, body=_body(number, at, over_all, last))
    head.save(force_insert=True)
    TenantHead.objects.bulk_create(entries)
    LogTree.objects.bulk_update(_signed(entries), ["signed_size"])
    proof = merkle.consistency(before["size"], over_all.size, log_trees.Kept(over_all))
    roots = bytes.fromhex(before["root"]), bytes.fromhex(over_all.root)
    if not merkle.verify_consistency(before["size"], over_all.size, *roots, proof):
        raise Refused(f"head {number} would not be the continuation of head {number - 1}")
    LogHead.objects.filter(pk=number).update(consistency=json.dumps([one.hex() for one in proof]))
    return LogHead.objects.get(pk=number)


def _signed(entries: list[TenantHead]) -> list[LogTree]:
    for entry in entries:
        entry.tree.signed_size = entry.size
    return [entry.tree for entry in entries]


def _body(number: int, at: datetime, over_all: LogTree, last: LogHead | None) -> str:
    return leaves.canonical(
        {
            "log": urlsplit(settings.BASE_URL).netloc,
            "number": number,
            "at": at.isoformat(),
            "size": over_all.size,
            "root": over_all.root,
            "previous": hashlib.sha256(last.body.encode()).hexdigest() if last else "",
        }
    )


def _publish(head: LogHead, signer: head_signing.Signer) -> None:
    """Sign and publish; what was published already, by a process that was killed then, is only marked."""
    outside = published_heads.folder()
    found = outside.read(head.number)
    if found is None:
        signature = signer.sign(head.body.encode())
        if not head_signing.verifies(signer.public, signature, head.body.encode()):
            raise RuntimeError("the key has made a signature that is not its own")
        head.signature = base64.b64encode(signature).decode()
        head.public_key = base64.b64encode(signer.public).decode()
        try:
            outside.write(head.number, published_form(head))
        except FileExistsError:
            found = outside.read(head.number)
    if found is not None:
        if found["head"] != head.facts:
            raise Refused(f"head {head.number} was published with another content")
        head.signature, head.public_key = found["signature"], found["public_key"]
    LogHead.objects.filter(pk=head.pk, published_at=None).update(
        signature=head.signature, public_key=head.public_key, published_at=clock.now()
    )
    head.refresh_from_db()


def _refuse(why: str) -> None:
    """Say once, in the log and to who is on call, that nothing is signed any more."""
    log.error("log_head_refused", why=why)

    def write() -> None:
        first = Sealer.objects.filter(pk=1).exclude(refused_why=why[:500])
        if first.update(refused_at=clock.now(), refused_why=why[:500]):
            audit.record("keys.log_head.refused", tenant=None, actor=audit.SYSTEM, why=why[:500])

    transactions.run(write)


def _allow() -> None:
    Sealer.objects.filter(pk=1).exclude(refused_at=None).update(refused_at=None, refused_why="")
