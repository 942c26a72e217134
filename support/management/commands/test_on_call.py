"""`manage.py test_on_call`: sends a test to whoever is on call, and prints what came of it."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from byokportal.errors import DomainError
from support import services
from support.models import OnCallMessage
from support.oncall import paging
from tenants import audit


class Command(BaseCommand):
    help = "Sends a test to whoever is on call, by each way that the settings name."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            rows = services.test_on_call(actor=audit.COMMAND)
        except DomainError as error:
            raise CommandError(str(error)) from None
        paging.send_due()
        sent = OnCallMessage.objects.filter(pk__in=[row.pk for row in rows]).order_by("pk")
        found = [
            {
                "channel": one.channel,
                "action": one.action,
                "status": one.status,
                "answer": one.answer_status,
                "why": one.why,
            }
            for one in sent
        ]
        self.stdout.write(json.dumps({"messages": found}))
        if any(one.status != OnCallMessage.Status.DELIVERED for one in sent):
            raise CommandError("Somebody on call is not reached: see why.")
