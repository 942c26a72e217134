"""The links of the invitations that were mailed."""

from __future__ import annotations

import re

from django.core import mail

from support import follow, notices


def mailed(to: str) -> str:
    """Return the path of the newest link that was mailed to an address."""
    while follow.follow():
        pass
    notices.send_due()
    bodies = [message.body for message in mail.outbox if message.to == [to] and "/invitations/" in message.body]
    return re.findall(r"http://[^/\s]+(/invitations/\S+)", bodies[-1])[-1]
