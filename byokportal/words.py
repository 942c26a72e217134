"""What codes, statuses and actors are called where people read them: pages, back office, mails, tickets, the log.

Rows, the API and our own log keep the codes, and the words are made when somebody reads: a row can be read for ever,
and so better words reach the old ones too.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from byokportal import stored_sentences
from byokportal.cause_words import CAUSES
from byokportal.errors import DomainError
from byokportal.translation import lazy
from byokportal.translation import translate as _

CODE = re.compile(r"[a-z][a-z0-9]*(?:[_.][a-z0-9]+)+", re.ASCII)
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:\+00:00|Z)", re.ASCII)
NOWHERE = "erased.invalid"
ERASED = re.compile(r"\([a-z2-7]{8}\)$", re.ASCII)  # how the words of an erased person end
# Codes that are no error's: its words are its title.
WORDS = {
    "insecure_trust": lazy("The role lets in others than our service role with the External ID"),
    "external_id_not_required": lazy("The trust policy does not ask for the External ID"),
    "external_id_not_exact": lazy("The trust policy takes another External ID too"),
    "trust_policy_allows_everybody": lazy("The trust policy lets everybody in"),
    "propagation_delay": lazy("The change may not have reached all of AWS yet"),
    "our_service_role_recreated": lazy("Our service role is another one than your trust policy knows"),
    "our_policy_drift": lazy("Our policy in IAM is not what we last wrote"),
    "our_canary_broken": lazy("The role of ours that always lets us in does not"),
    "waiting_for_tenant": lazy("waiting for the organisation"),
    "not_asked": lazy("not asked yet"),
}
# Reasons of ours that stand where a person's own words may stand, which are never translated.
REASONS = (
    lazy("No reason was given."),
    lazy("left the organisation"),
    lazy("withdrawn on the People page"),
    lazy("from now on a second person approves"),
    lazy("{email} is no owner any more"),
    lazy("it had expired, and another one takes its place"),
    lazy("the directory says: no owner"),
    lazy("cancelled"),
    lazy("the organisation's own Suspend stands"),
    lazy("left"),
    lazy("resumed"),
    lazy("replaced"),
    lazy("activation"),
    lazy("no branch key needs it"),
    lazy("changed by the tenant"),
    lazy("the trust policy was corrected"),
    lazy("closed again after a restore"),
)
NAMES = {
    "aws": "AWS",
    "kms": "KMS",
    "iam": "IAM",
    "sts": "STS",
    "arn": "ARN",
    "id": "ID",
    "scp": "SCP",
    "rcp": "RCP",
    "cmk": "CMK",
    "kore": "Kore.ai",
    "xks": "external key store",
    "mrk": "multi-Region key",
    "external": "External",
    "vpc": "VPC",
    "tls": "TLS",
}
# The same labels as the organisation's own people and as Kore.ai's read them.
STAFF = {
    "Waiting for you": "Waiting for the tenant",
    "your organisation": "the tenant",
    "to you ": "to the tenant ",
    "for you ": "for the tenant ",
}


def of(code: str) -> str:
    """Return the words of a code; one that nobody gave words is at least written as words are."""
    words = WORDS.get(code) or _titles().get(code) or CAUSES.get(code)
    return _(words) if words else _spelt(code)


def label(value: object) -> str:
    """Return a value as people read it: codes in words, instants in UTC with the zone named,
    everything else as it stands."""
    text = str(value)
    if CODE.fullmatch(text):
        return of(text)
    if INSTANT.fullmatch(text):
        return f"{datetime.fromisoformat(text.replace('Z', '+00:00')).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return text


def reason(text: str) -> str:
    """Return a reason as people read it: a code in words, one of ours in their language, a person's as it stands."""
    return stored_sentences.again_if(label(text), REASONS)


def minute(at: datetime, *, now: datetime) -> str:
    """Return the first full minute that is not before an instant, in UTC, with its day where that is not today."""
    at, now = (at + timedelta(minutes=1, microseconds=-1)).astimezone(UTC), now.astimezone(UTC)
    if at.date() == now.date():
        return f"{at:%H:%M} UTC"
    month = f"{at:%B}"
    return _("{day} {month}, {time} UTC").format(day=at.day, month=_(month), time=f"{at:%H:%M}")


def instant(at: datetime) -> str:
    """Return an instant as a sentence says it: 29 November 2026, 14:05 UTC."""
    month = f"{at:%B}"
    time = f"{at:%H:%M}"
    return _("{day} {month} {year}, {time} UTC").format(day=at.day, month=_(month), year=at.year, time=time)


def person(label: str) -> str:
    """Return the label of an actor (`member:…`, `kore:…`, `service:…`, `system`) as people read it."""
    kind, colon, name = label.partition(":")
    if kind == "kore":
        return f"{name} (Kore.ai)" if "@" in name or is_erased(name) else _("Kore.ai support")
    if kind == "link":
        return _("%(name)s (by the link)", name=name)
    if label == "directory":
        return _("the organisation's directory")
    if not colon:
        return _("the system") if kind in {"", "system"} else kind
    return name


def erased(reference: str) -> str:
    """Return what stands for a person whose name was erased: the mark tells one such person from another."""
    return _("an erased person (%(mark)s)", mark=reference[:8])


def address_of_erased(mark: str) -> str:
    """Return what stands where the mail address of a person was erased; no mail goes there (RFC 2606, section 2)."""
    return f"{mark}@{NOWHERE}"


def is_erased(text: str) -> bool:
    """Tell whether a text is the address of an erased person, or the words for one."""
    return text.endswith(f"@{NOWHERE}") or bool(ERASED.search(text))


def without_external_id(text: str, external_id: str) -> str:
    """Return a mail's or a ticket's text without the External ID, wherever it came from:
    the setup page alone shows it."""
    return text.replace(external_id, "(your External ID)")


def for_staff(label: str) -> str:
    """Return a label that speaks to the organisation as staff read it."""
    for you, them in STAFF.items():
        label = label.replace(you, them)
    return label


def _titles() -> dict[str, str]:
    if not _known:
        waiting = [DomainError]
        while waiting:
            error = waiting.pop()
            waiting += error.__subclasses__()
            if "code" in vars(error):
                _known[error.code] = error.title
    return _known


_known: dict[str, str] = {}


def _spelt(code: str) -> str:
    words = [NAMES.get(word, word) for word in re.split(r"[_.]", code)]
    return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]])
