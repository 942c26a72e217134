"""Lines of a log as a restored database reads them, its own and those of exports, and what each says of its target."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from byokportal import leaves
from byokportal.errors import InvalidInput
from keys.models import KeyRegistration
from tenants import persons

By = KeyRegistration.SuspendedBy
# Event → what it says of its target, by family; the last line about a target counts.
SAYS: dict[str, tuple[str, bool]] = {
    "keys.key.suspended": ("key", True),
    "keys.key.resumed": ("key", False),
    "keys.registration.withdrawn": ("registration", True),
    "keys.registration.horizon_ended": ("horizon", True),
    "tenants.member.removed": ("member", True),
    "tenants.member.left": ("member", True),
    "tenants.member.left_with_sign_on": ("member", True),
    "tenants.member.ended_by_directory": ("member", True),
    "tenants.member.joined": ("member", False),
    "tenants.member.joined_by_sign_on": ("member", False),
    "tenants.member.joined_by_directory": ("member", False),
    "tenants.service_account.disabled": ("account", True),
    "tenants.service_account.enabled": ("account", False),
    "tenants.service_account.created": ("account secret", True),
    "tenants.service_account.secret_rotated": ("account secret", True),
    "tenants.service_account.secret_revoked": ("old secret", True),
    "tenants.token.revoked": ("token", True),
    "tenants.directory.token_revoked": ("directory token", True),
    "tenants.invitation.withdrawn": ("invitation", True),
    "keys.link.revoked": ("link", True),
    "tenants.person.erased": ("person", True),
    "keys.branch_key.created": ("branch key", True),
    "tenants.tenant.closed": ("organisation", True),
}


# Families that stand in the logs of several organisations, or in ours.
OF_ACCOUNTS = frozenset({"account", "account secret", "old secret", "person"})
# What takes something away and is not followed: people look for it in the exports (docs/restore.md has each name).
NOT_FOLLOWED = frozenset(
    {
        "tenants.account.sign_in_changed",
        "tenants.account.switched_off",
        "tenants.directory.changed",
        "tenants.directory.group_role_changed",
        "tenants.directory.removed",
        "tenants.domain.removed",
        "tenants.head_recipient.removed",
        "tenants.log_stream.removed",
        "tenants.log_stream.secret_rotated",
        "tenants.log_stream.switched_off",
        "tenants.member.address_changed",
        "tenants.member.role_changed",
        "tenants.member.sign_in_changed",
        "tenants.second_factor.reset",
        "tenants.second_person.required",
        "tenants.service_account.changed",
        "tenants.service_account.shut_out",
        "tenants.sign_on.mode_changed",
        "tenants.sign_on.removed",
        "tenants.sign_on.unlinked",
        "tenants.staff.regrouped",
        "keys.key.left",
        "keys.latency.changed",
        "support.webhook.removed",
        "support.webhook.secret_rotated",
        "support.webhook.switched_off",
    }
)


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a log.

    Args:
        tenant: "" for a line of our own log.
        is_here: the database has it: from the backup, or put back by `reopen_logs`, which proved it by a signed head.
        after: of a secret: it was made after this, the instant of the line before.
        number, leaf: of a sealed line of a file: its place in the log, and what it is in the Merkle tree as it stands.
    """

    id: int
    name: str
    tenant: str
    target: str
    actor: str
    at: datetime
    data: dict[str, Any]
    is_here: bool
    after: datetime | None = None
    number: int | None = None
    leaf: bytes = b""

    @property
    def facts(self) -> tuple[int, str, str, str, datetime]:
        """Return what tells it from any other; the id does not: a restored database gives ids out once more."""
        return self.id, self.name, self.tenant, self.target, self.at

    @property
    def about(self) -> tuple[str, str, str]:
        """Return what it speaks of: a key is stopped by each side by itself, and a service account stands in the log of
        each organisation that it acts for."""
        family = SAYS[self.name][0]
        tenant = "" if family in OF_ACCOUNTS else self.tenant
        return family, tenant, f"{self.target} {self.side}" if family == "key" else self.target

    @property
    def side(self) -> str:
        """Return who stopped a key, or let it serve again."""
        if self.name == "keys.key.resumed":
            return By.KORE.value if self.actor.startswith("kore:") else By.TENANT.value
        # The tenant's label was written in the language of the page for a time.
        return {"AWS": By.AWS.value, "Kore.ai": By.KORE.value}.get(str(self.data.get("suspended_by")), By.TENANT.value)


def read_line(text: str) -> LogLine | None:
    """Return what a line of an export says; None for the last one, which says whether the export is complete.

    Raises:
        InvalidInput: it is no line of a log's export.
    """
    try:
        found = json.loads(text)
        if not isinstance(found, dict):
            raise ValueError
        if "payload" not in found:
            return None
        payload = json.loads(found["payload"])
        tenant = uuid.UUID(payload["tenant"]) if payload["tenant"] else None
        names = persons.proven(found.get("persons", {}), tenant)
        if erased := [f"{{p:{pk}}}" for pk, one in names.items() if not one.text]:
            names |= persons.of(erased)  # the backup may be from before they were erased
        line = line_of(int(found["id"]), persons.shown(payload, names, tenant), is_here=False)
        if found.get("number") is None:
            return line
        fields = leaves.fields_of(found["payload"], row=line.id, request_id=str(found["request_id"]))
        number = int(found["number"])
        return replace(line, number=number, leaf=leaves.leaf(number, leaves.digests(fields, str(found["salt"]))))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise InvalidInput(errors={"export": ["A line is none of a log's export."]}) from error


def read_export(texts: Iterable[str]) -> Iterator[LogLine]:
    """Yield the lines of one file, which is an organisation's: what it says of another one is nobody's export.

    Raises:
        InvalidInput: a line is none of a log's export, of our own log, or of another organisation than the first one.
    """
    tenant = ""
    for line in filter(None, map(read_line, texts)):
        tenant = tenant or line.tenant
        if not tenant or line.tenant != tenant:
            why = f"Line {line.id} is not of the organisation {tenant or 'whose file it is'}: give each one's export."
            raise InvalidInput(errors={"export": [why]})
        yield line


def line_of(number: int, payload: dict[str, Any], *, is_here: bool) -> LogLine:
    at = datetime.fromisoformat(payload["at"])
    if at.tzinfo is None or not 2000 <= at.year <= 2999:
        raise ValueError("no time of a log")
    tenant, target, actor = str(payload["tenant"] or ""), str(payload["target"]), str(payload["actor"])
    return LogLine(number, str(payload["name"]), tenant, target, actor, at, dict(payload["data"]), is_here=is_here)
