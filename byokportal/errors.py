"""The vocabulary of anticipated failures; it knows no HTTP, no Django and no AWS."""

from __future__ import annotations

import copy
from datetime import datetime
from enum import Enum
from typing import ClassVar, Self

from byokportal.translation import lazy, translate


class Kind(Enum):
    """What sort of failure it is; `byokportal.problems` alone knows the HTTP status of each."""

    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD = "method"
    CONFLICT = "conflict"
    TOO_LARGE = "too_large"
    MEDIA_TYPE = "media_type"
    UNREADABLE = "unreadable"
    KEY_REFUSED = "key_refused"
    LIMITED = "limited"
    UPSTREAM = "upstream"
    UNAVAILABLE = "unavailable"


class Turn(Enum):
    """Who can do something about it (design.md 9)."""

    TENANT = "tenant"
    KORE = "kore"
    CALLER = "caller"
    NOBODY = "nobody"


class DomainError(Exception):
    """An anticipated failure: no change of our code is needed to make it go away.

    Args:
        since: when the condition began, if that is known.
        retry_after: seconds after which a repeat has a chance; only with retryable errors.
        errors: field name to sentences, for input that a form or serializer refused.
        params: ids, enum words and AWS codes for the sentence; never a secret.
    """

    kind: ClassVar[Kind]
    code: ClassVar[str]
    title: ClassVar[str]
    detail: ClassVar[str]
    turn: ClassVar[Turn] = Turn.CALLER
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        *,
        since: datetime | None = None,
        retry_after: int | None = None,
        errors: dict[str, list[str]] | None = None,
        **params: object,
    ) -> None:
        self.since = since
        self.retry_after = retry_after
        self.errors = errors or {}
        self.params = params
        self.template = self.detail
        super().__init__(self.template.format(**params))

    @property
    def heading(self) -> str:
        """The title in the language of whoever reads the page; `title` is English, as the API has it."""
        return translate(self.title)

    @property
    def sentence(self) -> str:
        """The words in the language of whoever reads the page; `str(error)` is English, as the API has it."""
        shown = {
            name: translate(value) if value and isinstance(value, str) else value for name, value in self.params.items()
        }
        return translate(self.template).format(**shown)

    @property
    def in_full(self) -> str:
        """The title and the words, for a page."""
        return f"{self.heading}. {self.sentence}"

    def again(self) -> Self:
        """Return an equal error: one that was raised collects the tracebacks of everybody who raises it."""
        return type(self)(since=self.since, retry_after=self.retry_after, errors=self.errors, **self.params)


def own(error: BaseException) -> BaseException:
    """Return an error equal to one that somebody else raised: same type, same words, same cause, no traceback yet.

    A call that many wait for fails for all of them, and each of them has to hear what it was: a lost connection is a
    503 for the one who made the call and must not be a 500 for the others. The object itself is not shared, because a
    raised one collects the tracebacks of all who raise it.
    """
    if isinstance(error, DomainError):
        made: BaseException = error.again()
    else:
        try:
            made = copy.copy(error)  # calls the type with `args`, which not every type takes
        except Exception:  # noqa: BLE001  whatever its constructor wants, it is not asked then
            made = type(error).__new__(type(error), *error.args)
            made.__dict__.update(error.__dict__)
    made.__cause__ = error.__cause__
    made.__suppress_context__ = error.__suppress_context__
    return made.with_traceback(None)


class InvalidInput(DomainError):
    kind, code = Kind.INVALID, "invalid_input"
    title = lazy("The input is not valid")
    detail = lazy("Something in the request is not as it has to be. Each field says what.")


class MalformedBody(DomainError):
    kind, code = Kind.INVALID, "malformed_body"
    title = lazy("The body could not be read")
    detail = lazy("The body is not the JSON that this address takes: {why}. Send one JSON object in UTF-8.")


class SecretPasted(DomainError):
    """A secret stands in a text that we would keep: it is not kept, and must not be shown again either."""

    kind, code = Kind.INVALID, "secret_pasted"
    title = lazy("This looks like a secret")
    detail = "{why}"
    turn = Turn.TENANT


class NotAuthenticated(DomainError):
    kind, code = Kind.UNAUTHENTICATED, "not_authenticated"
    title = lazy("You are not signed in")
    detail = lazy("Send a valid bearer token in the Authorization header. Tokens end; ask for a new one.")


class NotAllowed(DomainError):
    kind, code = Kind.FORBIDDEN, "not_allowed"
    title = lazy("You may not do this")
    detail = lazy("This needs the permission {permission}, which you do not have. Ask an owner of your organisation.")


class NotFound(DomainError):
    kind, code = Kind.NOT_FOUND, "not_found"
    title = lazy("There is nothing here")
    detail = lazy("This address names nothing that you can see.")


class MethodNotAllowed(DomainError):
    kind, code = Kind.METHOD, "method_not_allowed"
    title = lazy("This address does not take that method")
    detail = lazy("{method} is not possible here. The API description names the methods of each address.")


class BodyTooLarge(DomainError):
    kind, code = Kind.TOO_LARGE, "body_too_large"
    title = lazy("The body is too large")
    detail = lazy("This address takes at most {limit} bytes. Send less, in several requests if you must.")


class MediaTypeNotTaken(DomainError):
    kind, code = Kind.MEDIA_TYPE, "media_type_not_taken"
    title = lazy("The media type is not taken here")
    detail = lazy("This address takes {wanted}. Set the Content-Type header to that.")


class Conflict(DomainError):
    kind, code = Kind.CONFLICT, "conflict"
    title = lazy("Somebody changed this at the same moment")
    detail = lazy("Nothing was changed by you. Look at what is there now, and do it again if it is still to be done.")
    retryable = True


class MovedToArchive(DomainError):
    """What a file was to go on with has left the database since it was begun."""

    kind, code = Kind.CONFLICT, "moved_to_archive"
    title = lazy("Part of it is in the archive by now")
    detail = lazy(
        "Everything before {until} has been moved to the archive since this file was begun. "
        "Begin it anew, without a cursor, and ask Kore.ai for what is older."
    )


class AddressRefused(DomainError):
    kind, code = Kind.INVALID, "address_refused"
    title = lazy("We do not call this address")
    detail = "{why}"
    turn = Turn.TENANT


class AddressUnreachable(DomainError):
    kind, code = Kind.UPSTREAM, "address_unreachable"
    title = lazy("The address did not answer as it has to")
    detail = "{why}"
    turn = Turn.TENANT
    retryable = True


class RateLimited(DomainError):
    kind, code = Kind.LIMITED, "rate_limited"
    title = lazy("Too many requests")
    detail = lazy("You have used your share for now. Try again after the time that Retry-After names.")
    retryable = True


class SharedCacheUnavailable(DomainError):
    kind, code = Kind.UNAVAILABLE, "shared_cache_unavailable"
    title = lazy("You cannot sign in at this moment")
    detail = lazy(
        "The store in which we count attempts does not answer, and without it nobody is let in. Try again in a minute. "
        "A key that is suspended stays so."
    )
    turn = Turn.KORE
    retryable = True


class DatabaseUnavailable(DomainError):
    kind, code = Kind.UNAVAILABLE, "database_unavailable"
    title = lazy("Our database does not answer")
    detail = lazy("Nothing was changed and no key was given out. Try again after the time that Retry-After names.")
    turn = Turn.KORE
    retryable = True
