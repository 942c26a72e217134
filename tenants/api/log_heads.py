"""Addresses of the seal: signed heads with the tenant's log in them, and the proof of a line."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from byokportal import pages
from byokportal.errors import NotFound
from byokportal.keyset import LARGEST
from tenants import endpoints, log_proofs, services
from tenants.models import HeadRecipient


class HeadOut(serializers.Serializer[Any]):
    """What is signed: the canonical JSON of it (docs/seal.md)."""

    log = serializers.CharField()
    number = serializers.IntegerField()
    at = serializers.DateTimeField()
    size = serializers.IntegerField()
    root = serializers.CharField()  # type: ignore[assignment]  # a field, not the property
    previous = serializers.CharField(allow_blank=True, help_text="SHA-256 of the head before, hex")


class EntryOut(serializers.Serializer[Any]):
    """The tenant's log as the head has it."""

    log = serializers.CharField()
    first = serializers.IntegerField()
    size = serializers.IntegerField()
    root = serializers.CharField()  # type: ignore[assignment]  # a field, not the property


class SignedHeadOut(serializers.Serializer[Any]):
    """Keep it: with a later export of the log, `docs/examples/verify_log.py` proves by it that nothing was changed."""

    head = HeadOut()
    signature = serializers.CharField(help_text="Ed25519, base64")
    public_key = serializers.CharField(help_text="base64; trust it from where you were given it, not from here")
    key_id = serializers.CharField(help_text="SHA-256 of the public key, hex")
    consistency = serializers.ListField(child=serializers.CharField(), help_text="proof from the head before")
    entry = EntryOut()
    index = serializers.IntegerField()
    proof = serializers.ListField(child=serializers.CharField(), help_text="that the entry is in the head")


class TenantHeadOut(serializers.Serializer[Any]):
    number = serializers.IntegerField(help_text="of the signed head")
    at = serializers.DateTimeField()
    first = serializers.IntegerField()
    size = serializers.IntegerField()
    root = serializers.CharField()  # type: ignore[assignment]  # a field, not the property


class HeadsOut(serializers.Serializer[Any]):
    items = TenantHeadOut(many=True)
    next = serializers.CharField(allow_null=True)


class InclusionOut(serializers.Serializer[Any]):
    event = serializers.IntegerField()
    number = serializers.IntegerField(help_text="of the line in the log")
    leaf = serializers.CharField()
    index = serializers.IntegerField()
    entry = EntryOut()
    head = serializers.IntegerField(help_text="the signed head that has this entry")
    proof = serializers.ListField(child=serializers.CharField())


class LogHead(endpoints.TenantView):
    """The newest signed head, with the proof that the log of this organisation stands in it as `entry` says."""

    problems = ("not_allowed",)

    @extend_schema(operation_id="log_head", responses=SignedHeadOut)
    def get(self, request: Request, tenant: str) -> Response:
        return Response(log_proofs.head(self.mine(request, tenant)))


class LogHeads(endpoints.TenantView):
    """Each signed head with which this log had grown, newest first."""

    problems = ("not_allowed", "invalid_input")

    @extend_schema(operation_id="list_log_heads", parameters=[endpoints.CURSOR], responses=HeadsOut)
    def get(self, request: Request, tenant: str) -> Response:
        found = log_proofs.heads(self.mine(request, tenant), request.query_params.get("cursor", ""))
        items = [
            {"number": one.head_id, "at": one.at, "first": one.first, "size": one.size, "root": one.root}
            for one in found.items
        ]
        return Response({"items": items, "next": str(found.next) if found.next else None})


class OneLogHead(endpoints.TenantView):
    """A signed head by its number, as `log/head` has the newest."""

    problems = ("not_allowed",)

    @extend_schema(operation_id="get_log_head", responses=SignedHeadOut)
    def get(self, request: Request, tenant: str, head: str) -> Response:
        mine = self.mine(request, tenant)
        number = whole(head)
        if number is None:
            raise NotFound
        return Response(log_proofs.head(mine, number))


class LogInclusion(endpoints.TenantView):
    """The proof that a line of the log is in it as it was signed last."""

    problems = ("not_allowed",)

    @extend_schema(operation_id="log_inclusion", responses=InclusionOut)
    def get(self, request: Request, tenant: str, event: str) -> Response:
        mine = self.mine(request, tenant)
        number = whole(event)
        if number is None:
            raise NotFound
        return Response(log_proofs.inclusion(mine, number))


class RecipientIn(serializers.Serializer[Any]):
    email = serializers.EmailField(max_length=254)


class RecipientOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    email = serializers.CharField()
    added_at = serializers.DateTimeField()


class RecipientsOut(serializers.Serializer[Any]):
    items = RecipientOut(many=True)
    next = serializers.CharField(allow_null=True)


class HeadRecipients(endpoints.TenantView):
    """To whom the signed head of the log is mailed once a day; five addresses at most."""

    problems = ("invalid_input", "not_allowed")

    @extend_schema(operation_id="list_head_recipients", parameters=[endpoints.CURSOR], responses=RecipientsOut)
    def get(self, request: Request, tenant: str) -> Response:
        rows = HeadRecipient.objects.filter(tenant=self.mine(request, tenant))
        return Response(RecipientsOut(pages.numbered(rows, request.query_params.get("cursor", ""))).data)

    @extend_schema(
        operation_id="add_head_recipient",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=RecipientIn,
        responses={201: RecipientOut},
    )
    def post(self, request: Request, tenant: str) -> Response:
        mine = self.mine(request, tenant)
        given = self.given(request, RecipientIn)

        def do() -> Any:
            return RecipientOut(services.add_head_recipient(mine, **given, actor=self.caller(request).actor)).data

        return self.once(request, mine, 201, do)


class OneHeadRecipient(endpoints.TenantView):
    """One address; DELETE ends the mails to it."""

    problems = ("not_allowed",)

    @extend_schema(operation_id="remove_head_recipient", request=None, responses={204: None})
    def delete(self, request: Request, tenant: str, recipient: str) -> Response:
        mine = self.mine(request, tenant)
        number = whole(recipient)
        if number is None:
            raise NotFound
        found = services.head_recipient_of(mine, number)
        services.remove_head_recipient(found, actor=self.caller(request).actor)
        return Response(status=204)


def whole(text: str) -> int | None:
    """Return the whole number that a text is, None where it is none that a row can have."""
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        return None
    return int(text) if int(text) <= LARGEST else None
