"""A POST to a receiver that a tenant gave: signed by Standard Webhooks, what became of it, how long the receiver rests.

A receiver that fails has a pause of its own (ADR 0019), so that one that is down is asked now and then.
Source: github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
"""

from __future__ import annotations

import base64
import random
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from standardwebhooks import Webhook

from byokportal import outbound, receiver_runs
from byokportal.errors import AddressRefused, AddressUnreachable
from byokportal.translation import translate as _

LARGEST, SHOWN = 16 * 1024, 500  # bytes of an answer; characters of it that are kept
LONGEST_PAUSE, LONGEST_WAIT_ASKED = timedelta(minutes=5), timedelta(hours=1)
OFF_AFTER, OFF_FAILURES = timedelta(days=3), 20  # both: then the receiver is switched off
GONE = 410


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt.

    Attributes:
        why: in a sentence, where it was not delivered.
        answer: what can be shown of the body, as text.
        body: all of it.
        retry_after: what the receiver asked for, bounded.
    """

    is_delivered: bool
    why: str = ""
    status: int | None = None
    answer: str = ""
    retry_after: timedelta = timedelta(0)
    body: bytes = field(default=b"", repr=False)


def post(address: str, *, whose: str, headers: Mapping[str, str], body: bytes, seconds: float) -> Outcome:
    """Send a body to a receiver and return what became of it; raises nothing that a receiver can cause.

    Args:
        whose: the tenant that gave the address.
        seconds: for the whole call.
    """
    try:
        answer = outbound.request(
            address,
            whose=whose,
            method="POST",
            headers=headers,
            body=body,
            seconds=seconds,
            largest=LARGEST,
            at_once=receiver_runs.THREADS,
        )
    except (AddressRefused, AddressUnreachable) as error:
        return Outcome(False, why=str(error))
    text = "".join(one if one.isprintable() else " " for one in answer.body.decode("utf-8", "replace"))[:SHOWN]
    if 200 <= answer.status < 300:
        return Outcome(True, status=answer.status, answer=text, body=answer.body)
    asked = answer.headers.get("retry-after", "")
    wait = int(asked) if asked.isascii() and asked.isdecimal() and len(asked) < 7 else 0
    retry_after = min(timedelta(seconds=wait), LONGEST_WAIT_ASKED)
    why = _("It answered {status}, and we wait for 200 to 299.").format(status=answer.status)
    return Outcome(False, why, answer.status, text, retry_after, answer.body)


def new_secret() -> str:
    """Return a secret for signatures, as the libraries of Standard Webhooks take it."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def signed(keys: Iterable[str], message_id: str, at: datetime, text: str) -> dict[str, str]:
    """Return the headers of Standard Webhooks, with a signature by each secret; none where there is no secret."""
    signatures = [Webhook(one).sign(message_id, at, text) for one in keys]
    if not signatures:
        return {}
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def about(wait: timedelta) -> timedelta:
    """Return the time with a fifth more or less: what failed together is not tried again together."""
    return wait * random.uniform(0.8, 1.2)  # noqa: S311  no secret


def pause(failures: int, outcome: Outcome) -> timedelta:
    """Return how long a receiver rests after so many failures before this one: a second at first, then longer."""
    return max(about(min(timedelta(seconds=2 ** min(failures, 20)), LONGEST_PAUSE)), outcome.retry_after)


def is_switched_off(outcome: Outcome, failing_for: timedelta, failures: int) -> bool:
    """Tell whether a receiver is given up after this failure, until a person switches it on again."""
    return outcome.status == GONE or (failing_for >= OFF_AFTER and failures >= OFF_FAILURES)
