"""Operation on all logs after the database went back: lost lines come from exports, or their loss is declared."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from byokportal import clock, leaves
from byokportal.errors import Conflict, InvalidInput
from keys import head_signing
from tenants import audit, log_trees, persons, published_heads, roles, transactions
from tenants.audit import Actor
from tenants.models import AuditEvent, LogHead, LogTree, Sealer, Tenant, TenantHead
from tenants.services import reason_of

Line = Mapping[str, Any]


@dataclass(slots=True)
class Reopened:
    """What became of the logs.

    Attributes:
        heads: how many published heads the database has again.
        restored: log → lines that were put back.
        lost: log → first and last line that are lost.
    """

    heads: int = 0
    restored: dict[str, int] = field(default_factory=dict)
    lost: dict[str, tuple[int, int]] = field(default_factory=dict)


def reopen_logs(
    lines: Iterable[Line], *, may_lose: bool, decided_by: str, reason: str, public_key: bytes, actor: Actor
) -> Reopened:
    """Take the published heads into a database that is older than they are, with the lines that they cover.

    A line that no export has is lost. Then the log goes on with another tree, whose first line names the last head of
    the old one, what is lost, and who decided.

    Args:
        lines: of exports, in any order; those of other logs and those that are here already are left alone.
        may_lose: declare as lost what no export has; else it is refused.
        decided_by: the person.
        public_key: of the heads, 32 bytes; who published others proves nothing.

    Raises:
        InvalidInput: a published head or a line is not what was signed, lines are lost and may not be, or
            SEAL_HEADS_DIR is not where this database's heads are published.
        Conflict: another worker seals at this moment.
    """
    roles.require(actor, "keys.reopen_logs")
    reason, decided_by = reason_of(reason), reason_of(decided_by)
    log_trees.require_heads()
    Sealer.objects.get_or_create(pk=1)
    last = LogHead.objects.order_by("-number").first()
    published = _published(last.number if last else 0, public_key)
    given: dict[str, dict[int, Line]] = {}
    for line in lines:
        log, number = _place(line)
        if number is not None:
            given.setdefault(log, {})[number] = line
    return transactions.run(
        lambda: _reopen(published, given, may_lose=may_lose, decided_by=decided_by, reason=reason, actor=actor)
    )


def _published(number: int, public_key: bytes) -> list[dict[str, Any]]:
    """Return the heads that were published and that the database does not have, each one signed by the key."""
    folder, found = published_heads.folder(), []
    while (one := folder.read(number := number + 1)) is not None:
        message = leaves.canonical(one["head"]).encode()
        if not head_signing.verifies(public_key, base64.b64decode(one["signature"]), message):
            raise InvalidInput(errors={"head": [f"Head {number} is not signed by this key."]})
        found.append(one)
    return found


def _place(line: Line) -> tuple[str, int | None]:
    try:
        tenant = json.loads(line["payload"]).get("tenant")
        return tenant or LogTree.OURS, line["number"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInput(errors={"export": ["A line is none of a log's export."]}) from error


def _reopen(
    published: list[dict[str, Any]],
    given: Mapping[str, Mapping[int, Line]],
    *,
    may_lose: bool,
    decided_by: str,
    reason: str,
    actor: Actor,
) -> Reopened:
    if log_trees.hold() is None:
        raise Conflict
    done = Reopened(heads=len(published))
    newest: dict[tuple[str, int], dict[str, Any]] = {}
    for head in published:
        newest |= {
            (entry["log"], entry["first"]): {**entry, "head": head["head"]["number"]} for entry in head["entries"]
        }
    trees = {key: _tree(*key) for key in newest}
    for (log, first), entry in newest.items():
        tree, last = trees[log, first], first + entry["size"] - 1
        if tree.size >= entry["size"]:
            continue
        missing = range(first + tree.size, last + 1)
        mine = given.get(log, {})
        is_gone = _is_gone(tree)
        if not is_gone and all(number in mine for number in missing):
            _put_back(tree, [mine[number] for number in missing], entry)
            done.restored[log] = len(missing)
        elif may_lose:
            done.lost[log] = (missing.start, last)
        else:
            why = f"Lines {missing.start} to {last} of the log {log} are in no export. Give one, or declare the loss."
            if is_gone:
                why = (
                    f"The organisation {log} is younger than this backup, which has nothing of it. Declare the loss, "
                    "then create the organisation anew."
                )
            raise InvalidInput(errors={"export": [why]})
    _take_heads(published, trees)
    for (log, first), entry in newest.items():
        tree = trees[log, first]
        who = {"decided_by": decided_by, "reason": reason}
        if log in done.lost and _is_gone(tree):
            facts = {"organisation": log, "lines": entry["size"], "head": entry["head"]}
            audit.record("keys.log.organisation_lost", tenant=None, actor=actor, **facts, **who)
        elif log in done.lost and tree.size < entry["size"]:
            _declare_loss(tree, entry, done.lost[log], who, actor)
        elif log in done.restored:
            audit.record("keys.log.restored", tenant=tree.tenant, actor=actor, count=done.restored[log], **who)
    if published:
        last = published[-1]["head"]
        taken = {"count": len(published), "number": last["number"], "made_at": last["at"]}
        audit.record("keys.log.reopened", tenant=None, actor=actor, **taken, decided_by=decided_by, reason=reason)
    return done


def _tree(log: str, first: int) -> LogTree:
    """Return a log's tree; of an organisation that this database does not have an empty one, which stays closed."""
    found = LogTree.objects.filter(name=log, first=first).first()
    if found is None:
        tenant = Tenant.objects.filter(pk=log).first() if log != LogTree.OURS else None
        found = LogTree.objects.create(name=log, tenant=tenant, first=first)
        if _is_gone(found):
            found.closed_at = clock.now()
            found.save(update_fields=["closed_at"])
    return found


def _is_gone(tree: LogTree) -> bool:
    return tree.tenant_id is None and tree.name != LogTree.OURS


def _put_back(tree: LogTree, lines: list[Line], entry: Mapping[str, Any]) -> None:
    """Write lines of an export as they were, and see that the log is then the one that was signed."""
    growing, rows = log_trees.Growing({tree.name: tree.tenant_id}), []
    mine, names = growing.trees[tree.name], dict[str, persons.Name]()
    for line in lines:
        try:
            payload = json.loads(line["payload"])
            row = AuditEvent(
                pk=int(line["id"]),
                tenant_id=tree.tenant_id,
                name=str(payload["name"]),
                actor=str(payload["actor"])[:200],
                payload=line["payload"],
                at=datetime.fromisoformat(payload["at"]),
                request_id=str(line["request_id"]),
                followed_at=clock.now(),
                seal_number=line["number"],
                seal_salt=str(line["salt"]),
                seal=str(line["seal"]),
            )
            growing.append(tree.name, bytes.fromhex(row.seal))
            names |= persons.proven(line.get("persons", {}), tree.tenant_id)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InvalidInput(errors={"export": ["A line is none of a log's export."]}) from error
        if _leaf(row) != row.seal:
            raise InvalidInput(errors={"export": [f"Line {row.seal_number} of the log {tree.name} was changed."]})
        rows.append(row)
    here = AuditEvent.objects.in_bulk([row.pk for row in rows])
    taken = next((row.pk for row in rows if row.pk in here and not _is_same(row, here[row.pk])), None)
    if taken is not None:
        why = f"Another line has the id {taken} by now: the log {tree.name} cannot be put back as it was."
        raise InvalidInput(errors={"export": [why]})
    persons.put_back(names)
    AuditEvent.objects.bulk_create([row for row in rows if row.pk not in here])
    # The backup was made after they were committed and before they were sealed.
    log_trees.write([(row.seal_number or 0, row.seal_salt or "", row.seal, row.pk) for row in rows if row.pk in here])
    growing.save()
    log_trees.go_past_rows()
    tree.refresh_from_db()
    if mine.root != entry["root"]:
        raise InvalidInput(errors={"export": [f"The lines of the log {tree.name} are not those that were signed."]})


def _is_same(row: AuditEvent, here: AuditEvent) -> bool:
    """Tell whether the line that is here is that one, and was only not sealed yet."""
    facts = (here.tenant_id, here.payload, here.request_id, here.seal)
    return facts == (row.tenant_id, row.payload, row.request_id, "")


def _leaf(row: AuditEvent) -> str:
    fields = leaves.fields_of(row.payload, row=row.pk, request_id=row.request_id)
    return leaves.leaf(row.seal_number or 0, leaves.digests(fields, row.seal_salt or "")).hex()


def _take_heads(published: list[dict[str, Any]], trees: Mapping[tuple[str, int], LogTree]) -> None:
    """Write the published heads and their entries, each as the continuation of the one before."""
    growing = log_trees.Growing({LogTree.HEADS: None})
    over_all = growing.trees[LogTree.HEADS]
    for one in published:
        facts = one["head"]
        head = LogHead(
            number=facts["number"],
            at=datetime.fromisoformat(facts["at"]),
            body=leaves.canonical(facts),
            consistency=json.dumps(one["consistency"]),
            signature=one["signature"],
            public_key=one["public_key"],
            published_at=clock.now(),
        )
        head.save(force_insert=True)
        for entry in one["entries"]:
            tree, hashed = trees[entry["log"], entry["first"]], leaves.head_leaf(entry)
            kept = {"first": entry["first"], "size": entry["size"], "root": entry["root"], "leaf": hashed.hex()}
            TenantHead.objects.create(
                head=head, tenant_id=tree.tenant_id, tree=tree, position=over_all.size, at=head.at, **kept
            )
            growing.append(LogTree.HEADS, hashed)
            LogTree.objects.filter(pk=tree.pk).update(signed_size=min(entry["size"], tree.size))
        growing.save()
        if (over_all.size, over_all.root) != (facts["size"], facts["root"]):
            raise InvalidInput(errors={"head": [f"Head {facts['number']} is not the continuation of what is here."]})


def _declare_loss(
    tree: LogTree, entry: Mapping[str, Any], lost: tuple[int, int], who: Mapping[str, str], actor: Actor
) -> None:
    LogTree.objects.filter(pk=tree.pk).update(closed_at=clock.now())
    LogTree.objects.create(name=tree.name, tenant=tree.tenant, first=lost[1] + 1)
    event = audit.record(
        "keys.log.loss_declared",
        tenant=tree.tenant,
        actor=actor,
        number=lost[1] + 1,
        lost_from=lost[0],
        lost_to=lost[1],
        old_size=entry["size"],
        old_root=entry["root"],
        head=entry["head"],
        **who,
    )
    log_trees.seal_rows([(event.pk, event.tenant_id, event.payload, event.request_id)])
