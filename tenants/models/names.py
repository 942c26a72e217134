"""The names and mail addresses of people of whom the log speaks: a row of the log holds the id of such a row alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from django.db import models
from django.db.models import Q
from django.db.models.functions import Upper

from byokportal import clock
from tenants.models.organisations import Tenant


@dataclass(frozen=True, slots=True)
class Name:
    """What is known of a reference: its text and salt, both empty once they are erased."""

    tenant: UUID | None
    text: str
    salt: str


class PersonName(models.Model):
    """One name or address in the log of one tenant, until it is erased.

    The id is a commitment to the text under the salt (tenants.persons), so who has both can prove the name, and who
    has the id alone learns nothing. A person in the logs of two tenants has two ids. Two rows of one text in one log
    may come to be (two requests at the same instant, lines that were put back from an export): every reader asks for
    all of a text.
    """

    LONGEST = 320  # characters: a mail address (RFC 5321, section 4.5.3.1)

    id = models.CharField(primary_key=True, max_length=52)
    tenant = models.ForeignKey(
        Tenant, null=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )  # null: people of ours, and everybody in our own log
    text = models.CharField(max_length=LONGEST, blank=True)
    salt = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(default=clock.now)
    erased_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["created_at"]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "text"], name="tenants_name_by_text"),
            models.Index(Upper("text"), name="tenants_name_by_upper_text"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(erased_at=None) & ~Q(text="") & ~Q(salt="") | ~Q(erased_at=None) & Q(text="", salt=""),
                name="tenants_an_erased_name_is_gone",
            ),
        ]

    def __str__(self) -> str:
        return self.id
