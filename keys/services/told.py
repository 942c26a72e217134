"""Of whom a restored database knows everything up to the moment of its loss: what signed heads prove, and nothing else.

`reopen_logs` takes the heads that were published after the backup; it leaves each log as they signed it, or declares
the rest lost. So a log is known up to the newest head that was taken, unless a loss of it was declared. Lines that a
file has behind that head are followed and prove nothing: whoever hands in a file may leave out the last ones, or add.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from byokportal import merkle
from keys.models import DatabaseAdmission
from keys.services.log_lines import LogLine
from tenants import audit
from tenants.models import AuditEvent, LogTree, Tenant


@dataclass(slots=True)
class Loss:
    """Lines of an organisation that were declared lost, and what a file that came later has of them.

    Args:
        size, peaks: of the tree that the lines continued, as the database has it.
        root: what a published head had signed after the last of them, hex.
    """

    first: int
    last: int
    size: int
    peaks: list[bytes]
    root: str
    leaves: dict[int, bytes] = field(default_factory=dict)

    def is_made_up(self) -> bool:
        """Tell whether the lines of the file are those that were signed."""
        size, peaks = self.size, list(self.peaks)
        for number in range(self.first, self.last + 1):
            if number not in self.leaves:
                return False
            merkle.append(size, peaks, self.leaves[number])
            size += 1
        return merkle.root(peaks).hex() == self.root


@dataclass(slots=True)
class Known:
    """What is known of the logs since the last restore.

    Args:
        until: when the newest head was made that `reopen_logs` took; None: it took none.
        losses: by organisation.
    """

    until: datetime | None
    losses: dict[str, list[Loss]]

    @classmethod
    def now(cls) -> Self:
        """Return what the database itself knows."""
        taken = AuditEvent.objects.filter(name="keys.log.reopened").order_by("-pk").first()
        if taken is None:
            return cls(None, {})
        before = DatabaseAdmission.objects.filter(is_by_person=True, admitted_at__lt=taken.at).first()
        declared = AuditEvent.objects.filter(name="keys.log.loss_declared").exclude(tenant=None)
        losses: dict[str, list[Loss]] = {}
        for event in declared.filter(at__gt=before.admitted_at) if before else declared:
            losses.setdefault(str(event.tenant_id), []).append(_loss(event))
        return cls(datetime.fromisoformat(str(audit.data_of(taken)["made_at"])), losses)

    def note(self, line: LogLine) -> None:
        """Keep the leaf of a line of a file where it was declared lost."""
        for loss in self.losses.get(line.tenant, ()):
            if line.number is not None and loss.first <= line.number <= loss.last:
                loss.leaves[line.number] = line.leaf

    def told(self, until: datetime | None) -> set[str]:
        """Return the organisations of which everything is known up to an instant; None: of nobody."""
        if until is None or self.until is None or self.until < until:
            return set()
        gaps = {tenant for tenant, mine in self.losses.items() if not all(loss.is_made_up() for loss in mine)}
        return {str(pk) for pk in Tenant.objects.values_list("pk", flat=True)} - gaps


def _loss(event: AuditEvent) -> Loss:
    data = audit.data_of(event)
    first, last, size = (int(str(data[name])) for name in ("lost_from", "lost_to", "old_size"))
    tree = LogTree.objects.filter(name=str(event.tenant_id), first=last + 1 - size).exclude(closed_at=None).get()
    return Loss(first, last, tree.size, tree.hashes, str(data["old_root"]))
