"""The sealer: numbers the committed rows of each log without gaps and adds them to the Merkle tree of that log.

A row is numbered when it can be seen, not when it was written: transactions commit out of order, and a number that was
given before the commit would leave a gap where a transaction is rolled back. One sealer at a time holds the lock of the
row `Sealer`; rows, trees and numbers change in its one transaction, so a sealer that is killed leaves nothing half
done, and the lock goes with its connection.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import structlog
from django.db import connection

from byokportal import clock, leaves, merkle
from byokportal.errors import InvalidInput
from tenants import published_heads, transactions
from tenants.models import ArchivedLeaf, AuditEvent, LogHead, LogNode, LogStream, LogTree, Sealer, TenantHead

log = structlog.get_logger(__name__)
BATCH = 1_000  # rows in one transaction
SECONDS = 10.0  # of one run
KEPT_LEVELS = 8  # every eighth level of complete subtrees is kept

UPDATE = {
    "postgresql": (
        "UPDATE tenants_auditevent AS row SET seal_number = new.number, seal_salt = new.salt, seal = new.seal "
        "FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::bigint[]) AS new(number, salt, seal, id) "
        "WHERE row.id = new.id AND row.seal = ''"
    ),
    "sqlite": "UPDATE tenants_auditevent SET seal_number = %s, seal_salt = %s, seal = %s WHERE id = %s AND seal = ''",
}

GO_PAST = """SELECT setval(sequence, greatest(nextval(sequence), (SELECT coalesce(max(id), 1) FROM tenants_auditevent)))
    FROM (SELECT pg_get_serial_sequence('tenants_auditevent', 'id')::regclass AS sequence) AS its"""


def seal() -> int:
    """Seal what is committed and not sealed yet; safe to run anywhere, at any time, by several workers at once.

    Returns:
        how many rows were sealed; 0 also where another worker seals, where the database went back (the numbers that it
        would give out stand for other rows in a published head), and where the published heads cannot be seen.
    """
    Sealer.objects.get_or_create(pk=1)
    if is_behind():
        log.error("log_not_sealed", why="a newer head was published than this database has")
        return 0
    if elsewhere := _not_here(_newest_published()):
        log.error("log_not_sealed", why=elsewhere)
        return 0
    until, sealed = clock.monotonic() + SECONDS, 0
    while clock.monotonic() < until:
        rows = transactions.run(_seal_batch)
        sealed += rows
        if rows < BATCH:
            break
    return sealed


def is_behind() -> bool:
    """Tell whether a head was published that this database does not have."""
    last = LogHead.objects.order_by("-number").values_list("number", flat=True).first() or 0
    return published_heads.folder().read(last + 1) is not None


def require_heads() -> None:
    """Refuse to go on where SEAL_HEADS_DIR is not where this database's heads are published: an empty directory, or
    none, reads as if nothing was ever published and nobody was closed.

    Raises:
        InvalidInput: it is no directory, or lacks a head that was published; the error says which.
    """
    outside, last = published_heads.folder(), LogHead.objects.order_by("-number").first()
    number = last.number if last else 0
    if not outside.is_there():
        why = "SEAL_HEADS_DIR is no directory here: let it be where heads are published, also where none was yet."
    elif outside.newest() > number and outside.read(number + 1) is None:
        why = f"SEAL_HEADS_DIR has head {outside.newest()} and lacks head {number + 1}."
    else:
        why = _not_here(_newest_published())
    if why:
        raise InvalidInput(errors={"head": [why]})


def _newest_published() -> int | None:
    return LogHead.objects.published().order_by("-number").values_list("number", flat=True).first()


def _not_here(number: int | None) -> str:
    if number is None or published_heads.folder().read(number) is not None:
        return ""
    return f"Head {number} was published, and SEAL_HEADS_DIR lacks it: that is not where heads are published."


def hold() -> Sealer | None:
    """Become the one who seals until the transaction ends; None: somebody else is."""
    return Sealer.objects.select_for_update(no_key=True, skip_locked=True).filter(pk=1).first()


def _seal_batch() -> int:
    sealer = hold()
    if sealer is None:
        return 0
    # A row that somebody holds at this moment (`support.follow` marks it) is for the next run: nobody waits for us
    # while we wait for them.
    unsealed = AuditEvent.objects.not_sealed().select_for_update(no_key=True, skip_locked=True).order_by("pk")
    rows = list(unsealed.values_list("pk", "tenant_id", "payload", "request_id")[:BATCH])
    held = LogStream.objects.wake({tenant for _, tenant, _, _ in rows if tenant}, clock.now())
    rows = [row for row in rows if row[1] not in held]
    seal_rows(rows)
    if len(rows) < BATCH and not held:
        Sealer.objects.filter(pk=sealer.pk).update(sealed_at=clock.now())
    return len(rows)


def seal_rows(rows: Sequence[tuple[int, uuid.UUID | None, str, str]]) -> None:
    """Give rows the next numbers of their logs; whoever calls holds the lock of the sealer.

    Args:
        rows: id, tenant, payload and request id of each.
    """
    growing = Growing({str(tenant or LogTree.OURS): tenant for _, tenant, _, _ in rows})
    sealed = []
    for pk, tenant, payload, request_id in rows:
        name, salt = str(tenant or LogTree.OURS), leaves.new_salt()
        fields = leaves.fields_of(payload, row=pk, request_id=request_id)
        hashed = leaves.leaf(growing.next_number(name), leaves.digests(fields, salt))
        sealed.append((growing.append(name, hashed), salt, hashed.hex(), pk))
    write(sealed)
    growing.save()


def write(sealed: list[tuple[int, str, str, int]]) -> None:
    """Write the seal of rows that have none: number, salt, leaf and id of each."""
    if not sealed:
        return
    statement = UPDATE[connection.vendor]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(statement, [list(column) for column in zip(*sealed, strict=True)])
        else:
            cursor.executemany(statement, sealed)
        if cursor.rowcount != len(sealed):
            raise RuntimeError(f"{cursor.rowcount} rows were sealed in place of {len(sealed)}")


def go_past_rows() -> None:
    """Let the next line get an id behind all that are there: rows that were put back carry their own.

    SQLite does so by itself. PostgreSQL's sequence came back with the backup.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(GO_PAST)


class Growing:
    """The open trees of some logs, while leaves are added to them; whoever grows them holds the lock of the sealer.

    Args:
        logs: name of each log → its tenant's id.
    """

    def __init__(self, logs: dict[str, uuid.UUID | None]) -> None:
        found = {tree.name: tree for tree in LogTree.objects.filter(name__in=logs, closed_at=None)}
        new = [LogTree(name=name, tenant_id=logs[name]) for name in sorted(set(logs) - found.keys())]
        LogTree.objects.bulk_create(new)
        self.trees = found | {tree.name: tree for tree in new}
        self._peaks = {name: tree.hashes for name, tree in self.trees.items()}
        self._nodes: list[LogNode] = []

    def next_number(self, name: str) -> int:
        tree = self.trees[name]
        return tree.first + tree.size

    def append(self, name: str, hashed: bytes) -> int:
        """Add a leaf to a log's tree; return the number that its row gets."""
        tree, number = self.trees[name], self.next_number(name)
        for node in merkle.append(tree.size, self._peaks[name], hashed):
            if node.level % KEPT_LEVELS == 0:
                self._nodes.append(LogNode(tree=tree, level=node.level, index=node.place, hash=node.hash.hex()))
        tree.size += 1
        return number

    def save(self) -> None:
        for name, tree in self.trees.items():
            tree.peaks = b"".join(self._peaks[name]).hex()
        LogTree.objects.bulk_update(self.trees.values(), ["size", "peaks"])
        LogNode.objects.bulk_create(self._nodes)


@dataclass(slots=True)
class Kept:
    """Reads complete subtrees of a tree from what is kept of it: for a proof a few pieces of 256 hashes at most."""

    tree: LogTree
    _pieces: dict[tuple[int, int], list[bytes]] = field(default_factory=dict)

    def __call__(self, level: int, index: int) -> bytes:
        base, above = level - level % KEPT_LEVELS, level % KEPT_LEVELS
        first = index << above
        hashes = self._piece(base, first >> KEPT_LEVELS)
        at = first & (1 << KEPT_LEVELS) - 1
        return merkle.root_of(hashes[at : at + (1 << above)])

    def root_at(self, size: int) -> bytes:
        return merkle.root_at(size, self)

    def _piece(self, base: int, piece: int) -> list[bytes]:
        if (base, piece) not in self._pieces:
            first, last = piece << KEPT_LEVELS, (piece + 1) << KEPT_LEVELS
            found = self._leaves(first, last) if base == 0 else self._nodes(base, first, last)
            self._pieces[base, piece] = [bytes.fromhex(one) for one in found]
        return self._pieces[base, piece]

    def _nodes(self, base: int, first: int, last: int) -> Iterable[str]:
        kept = LogNode.objects.filter(tree=self.tree, level=base, index__gte=first, index__lt=last)
        return kept.order_by("index").values_list("hash", flat=True)

    def _leaves(self, first: int, last: int) -> Iterable[str]:
        if self.tree.name == LogTree.HEADS:
            heads = TenantHead.objects.filter(position__gte=first, position__lt=last)
            return heads.order_by("position").values_list("leaf", flat=True)
        numbers = {"seal_number__gte": self.tree.first + first, "seal_number__lt": self.tree.first + last}
        rows = AuditEvent.objects.filter(tenant=self.tree.tenant_id, **numbers).exclude(seal="")
        found = dict(rows.values_list("seal_number", "seal"))
        if len(found) < min(last, self.tree.size) - first:
            numbers = {"number__gte": self.tree.first + first, "number__lt": self.tree.first + last}
            found |= dict(ArchivedLeaf.objects.filter(tree=self.tree, **numbers).values_list("number", "seal"))
        return [seal for _, seal in sorted(found.items())]
