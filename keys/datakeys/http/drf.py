"""Addresses for platform services: generate, decrypt and rewrap data keys, one or up to a hundred.

The views are DRF's, with three liberties for speed, since they answer thousands of requests a second: they
are reached by the fast path (`keys.datakeys.http.fast_path`), their bodies are read by hand
(`keys.datakeys.http.items`), and what goes well is answered with orjson instead of serializer and renderer. Everything
that goes wrong takes DRF's way.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Protocol

import orjson
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from byokportal import bodies, problems
from byokportal.errors import DomainError
from keys import datakeys
from keys.datakeys import Context, NewDataKey, envelope
from keys.datakeys.http import items, priority
from keys.datakeys.http import serializers as shapes
from tenants import access, authentication, endpoints, idempotency, limits
from tenants.authentication import Caller
from tenants.models import Tenant

PROBLEMS = (
    "invalid_input",
    "rate_limited",
    "key_not_active",
    "suspended",
    "kms_access_denied",
    "kms_key_disabled",
    "kms_key_pending_deletion",
    "kms_key_not_found",
    "kms_key_pending_import",
    "kms_key_unusable",
    "kms_wrong_key",
    "role_not_assumable",
    "key_unreachable",
    "aws_throttled",
    "aws_unreachable",
    "own_access_broken",
    "aws_surprise",
    "database_not_admitted",
    "context_invalid",
    "wrapped_key_unreadable",
)
Result = dict[str, str] | DomainError


class DataKeyView(endpoints.TenantView):
    """What the three have in common: the scope, one or many, no answer kept by anybody."""

    permission_classes = ()  # the scope is asked for below
    operation = ""
    is_bulk = False  # whatever the number of items
    problems = PROBLEMS

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Authenticate. DRF would also negotiate format and version and count throttles,
        of which there are none here."""
        self.asks = authentication.caller_of(request._request)

    def caller(self, request: Request) -> Caller:
        return self.asks

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Leave what went well as it is; a problem gets DRF's renderer and headers."""
        if isinstance(response, Response):
            return super().finalize_response(request, response, *args, **kwargs)
        request.parser_context = {}  # it held request and view: each of them would wait for the garbage collector
        return response

    def allowed(self, tenant: str) -> Tenant:
        """Return the tenant of the address, if the caller has the scope."""
        mine = access.tenant_served_by(self.asks, tenant)
        access.require_scope(self.asks, self.operation)
        return mine

    def within_share(self, mine: Tenant, count: int, make: Callable[[], list[Result]]) -> list[Result]:
        """Take so many keys out of the caller's and the tenant's share, and make them in their lane."""
        asked: Any = self.request._request
        # The same in both attempts of a request that the event loop begins again in a thread; it pays once.
        scope = getattr(asked, "scope", None) or asked.META.get("asgi.scope", {})
        with priority.lane(count, is_bulk=self.is_bulk):
            if not scope.get("share_is_taken"):
                limits.take(self.asks.name, str(mine.pk), count)
                scope["share_is_taken"] = True
            return make()

    def facts(self, request: Request) -> dict[str, Any]:
        """Return what the row of the use says about the caller."""
        return {"caller": self.asks.actor.label, "request_id": problems.request_id_of(request._request)}

    def answer(self, request: Request, body: dict[str, Any], results: Sequence[Result]) -> HttpResponse:
        """Answer a batch item by item; a single failed item is the whole answer."""
        if "items" in body:
            request_id = problems.request_id_of(request._request)
            each = [{"problem": problems.problem(r, request_id)} if isinstance(r, DomainError) else r for r in results]
            return _json({"items": each})
        return _json(_only(results))


class Plain(Protocol):
    """A key as it leaves: `NewDataKey` or `OpenedDataKey`."""

    @property
    def plaintext(self) -> bytes: ...
    @property
    def cache_until(self) -> datetime: ...


def _only(results: Sequence[Result]) -> dict[str, str]:
    """Return the one result; its failure is the failure of the request."""
    (result,) = results
    if isinstance(result, DomainError):
        raise result
    return result


def _wrapped_in(results: Sequence[Result]) -> list[str | None]:
    return [None if isinstance(one, DomainError) else one["wrapped_key"] for one in results]


def _json(answer: dict[str, Any]) -> HttpResponse:
    return HttpResponse(orjson.dumps(answer), content_type="application/json", headers={"Cache-Control": "no-store"})


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _plain(key: Plain) -> dict[str, str]:
    return {"plaintext": _text(key.plaintext), "cache_until": _instant(key.cache_until)}


@lru_cache(maxsize=1_000)
def _instant(at: datetime) -> str:
    """Return an instant as the API writes it; many keys share theirs with the branch key that wrapped them."""
    return at.isoformat().replace("+00:00", "Z")


class DataKeys(DataKeyView):
    """Make data keys: 256 random bits each, wrapped under the tenant's key."""

    operation = "keys.generate"

    @extend_schema(
        operation_id="generate_data_keys",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=shapes.GenerateIn,
        responses={200: shapes.GeneratedOut},
    )
    def post(self, request: Request, tenant: str) -> HttpResponse:
        mine = self.allowed(tenant)
        body = bodies.read(request._request)
        contexts = items.contexts(body)
        asked: list[Context | DomainError] = list(contexts)
        if "items" in body:  # one that cannot be used must not fail the others
            asked = [_usable(mine, context) for context in contexts]
        contexts = [context for context in asked if not isinstance(context, DomainError)]
        made = self.within_share(mine, len(asked), lambda: self._made(request, mine, contexts))
        left = iter(made)
        return self.answer(request, body, [one if isinstance(one, DomainError) else next(left) for one in asked])

    def _made(self, request: Request, mine: Tenant, contexts: list[Context]) -> list[Result]:
        """Make a key for each context, or open again what was made under the same Idempotency-Key."""
        made: list[Result] = []
        keys: list[NewDataKey] = []

        def do() -> idempotency.Answer:
            keys.extend(datakeys.generate(mine, contexts, **self.facts(request)) if contexts else [])
            made.extend({**_plain(key), "wrapped_key": _text(key.wrapped_key)} for key in keys)
            # Kept for a repeat is the wrapped key alone: what is stored opens nothing by itself.
            return idempotency.Answer(200, {"wrapped": _wrapped_in(made)})

        kept = self.once_kept(request, mine, do)
        if not kept.is_repeat:
            datakeys.require_unstopped(mine, keys)  # keeping the answer may have waited for the database
            return made
        return self._opened_again(request, mine, [base64.b64decode(text) for text in kept.kept["wrapped"]], contexts)

    def _opened_again(
        self, request: Request, mine: Tenant, blobs: list[bytes], contexts: list[Context]
    ) -> list[Result]:
        """Open what the first request made: a new row, and a refusal if the key was taken back meanwhile."""
        opened = datakeys.open_wrapped(mine, list(zip(blobs, contexts, strict=True)), **self.facts(request))
        return [
            result if isinstance(result, DomainError) else {**_plain(result), "wrapped_key": _text(blob)}
            for result, blob in zip(opened, blobs, strict=True)
        ]


def _usable(tenant: Tenant, context: Context) -> Context | DomainError:
    """Return the context, or why no key can be made with it."""
    try:
        if context:  # none is always good
            envelope.encode_context(str(tenant.pk), context)
    except DomainError as error:
        return error
    return context


class Decrypt(DataKeyView):
    """Open wrapped data keys."""

    operation = "keys.decrypt"

    @extend_schema(
        operation_id="decrypt_data_keys",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=shapes.OpenIn,
        responses={200: shapes.OpenedOut},
    )
    def post(self, request: Request, tenant: str) -> HttpResponse:
        mine = self.allowed(tenant)
        body = bodies.read(request._request)
        asked = items.wrapped(body)
        opened = self.within_share(mine, len(asked), lambda: self._opened(request, mine, body, asked))
        return self.answer(request, body, opened)

    def _opened(self, request: Request, mine: Tenant, body: dict[str, Any], asked: list[items.Wrapped]) -> list[Result]:
        """Open each; a repeat under the same Idempotency-Key opens them again, for no plaintext is kept."""
        results: list[Result] = []

        def do() -> idempotency.Answer:
            opened = datakeys.open_wrapped(mine, asked, **self.facts(request))
            results.extend(key if isinstance(key, DomainError) else _plain(key) for key in opened)
            if "items" not in body:
                _only(results)  # the request failed, so its Idempotency-Key is free again
            return idempotency.Answer(200, {})

        if self.once_kept(request, mine, do).is_repeat:
            do()
        return results


class Rewrap(DataKeyView):
    """Move wrapped data keys to the current branch key without showing them."""

    operation = "keys.rewrap"
    is_bulk = True  # nobody waits for one

    @extend_schema(
        operation_id="rewrap_data_keys",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=shapes.OpenIn,
        responses={200: shapes.RewrappedOut},
    )
    def post(self, request: Request, tenant: str) -> HttpResponse:
        mine = self.allowed(tenant)
        body = bodies.read(request._request)
        asked = items.wrapped(body)
        moved = self.within_share(mine, len(asked), lambda: self._moved(request, mine, body, asked))
        return self.answer(request, body, moved)

    def _moved(self, request: Request, mine: Tenant, body: dict[str, Any], asked: list[items.Wrapped]) -> list[Result]:
        """Move each, or answer what was answered under the same Idempotency-Key; what failed then is tried again."""
        results: list[Result] = []

        def move(blobs: list[items.Wrapped]) -> None:
            moved = datakeys.rewrap(mine, blobs, **self.facts(request))
            results.extend({"wrapped_key": _text(one)} if isinstance(one, bytes) else one for one in moved)
            if "items" not in body:
                _only(results)  # the request failed, so its Idempotency-Key is free again

        def do() -> idempotency.Answer:
            move(asked)
            return idempotency.Answer(200, {"wrapped": _wrapped_in(results)})

        first = self.once_kept(request, mine, do)
        if not first.is_repeat:
            return results
        kept: list[str | None] = first.kept["wrapped"]
        # The kept blobs are moved once more: a new row, and a refusal if the key was taken back meanwhile.
        move(
            [
                (base64.b64decode(text) if text else blob, context)
                for text, (blob, context) in zip(kept, asked, strict=True)
            ]
        )
        return [
            {"wrapped_key": text} if text and isinstance(one, dict) else one
            for text, one in zip(kept, results, strict=True)
        ]
