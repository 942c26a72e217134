"""Addresses of the links for colleagues who own AWS, and of the ARNs that came in by them.

There is none to make one: a link is made by a person, freshly signed in, in the portal.
"""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from byokportal import pages
from keys import services
from keys.api.serializers import Empty, RegistrationOut
from keys.models import ArnProposal, SetupLink
from tenants import endpoints


class LinkOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()
    is_open = serializers.BooleanField()
    opened = serializers.IntegerField()
    last_opened_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    revoked_at = serializers.DateTimeField(allow_null=True)


class LinksOut(serializers.Serializer[Any]):
    items = LinkOut(many=True)
    next = serializers.CharField(allow_null=True)


class ProposalOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    link = serializers.UUIDField(source="link_id")
    key_arn = serializers.CharField(allow_blank=True)
    role_arn = serializers.CharField(allow_blank=True)
    status = serializers.CharField()
    created_at = serializers.DateTimeField()
    decided_at = serializers.DateTimeField(allow_null=True)


class ProposalsOut(serializers.Serializer[Any]):
    items = ProposalOut(many=True)
    next = serializers.CharField(allow_null=True)


class Links(endpoints.TenantView):
    """The links for colleagues who own AWS: steps 1 to 4 without an account. Their secrets are shown once, in the
    portal."""

    problems = ("invalid_input",)

    @extend_schema(operation_id="list_links", parameters=[endpoints.CURSOR], responses=LinksOut)
    def get(self, request: Request, tenant: str) -> Response:
        rows = SetupLink.objects.of(self.mine(request, tenant)).with_is_open()
        return Response(LinksOut(pages.numbered(rows, request.query_params.get("cursor", ""))).data)


class OneLink(endpoints.TenantView):
    """One link; DELETE revokes it. Twice is once."""

    problems = ("not_allowed",)

    @extend_schema(operation_id="revoke_link", responses={204: None})
    def delete(self, request: Request, tenant: str, link: str) -> Response:
        found = services.link_of(self.mine(request, tenant), endpoints.as_uuid(link))
        services.revoke_link(found, actor=self.caller(request).actor)
        return Response(status=204)


class Proposals(endpoints.TenantView):
    """The ARNs that came in by links; the pending one waits for an owner or admin."""

    problems = ("invalid_input",)

    @extend_schema(operation_id="list_proposals", parameters=[endpoints.CURSOR], responses=ProposalsOut)
    def get(self, request: Request, tenant: str) -> Response:
        rows = ArnProposal.objects.filter(tenant=self.mine(request, tenant))
        return Response(ProposalsOut(pages.numbered(rows, request.query_params.get("cursor", ""))).data)


class ConfirmProposal(endpoints.TenantView):
    """Take the proposed ARNs over, as `PUT …/registration` does."""

    problems = ("proposal_decided", "arn_refused", "registration_busy", "not_allowed", "token_not_marked")

    @extend_schema(
        operation_id="confirm_proposal",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=Empty,
        responses=RegistrationOut,
    )
    def post(self, request: Request, tenant: str, proposal: str) -> Response:
        mine = self.mine(request, tenant)
        self.given(request, Empty)
        found = services.proposal_of(mine, endpoints.as_uuid(proposal))

        def do() -> Any:
            return RegistrationOut(services.confirm_proposal(found, actor=self.caller(request).actor)).data

        return self.once(request, mine, 200, do, location=lambda _: reverse("api:registration", args=[mine.pk]))


class RefuseProposal(endpoints.TenantView):
    """Refuse the proposed ARNs."""

    problems = ("proposal_decided", "not_allowed")

    @extend_schema(
        operation_id="refuse_proposal", parameters=[endpoints.IDEMPOTENCY_KEY], request=Empty, responses=ProposalOut
    )
    def post(self, request: Request, tenant: str, proposal: str) -> Response:
        mine = self.mine(request, tenant)
        self.given(request, Empty)
        found = services.proposal_of(mine, endpoints.as_uuid(proposal))

        def do() -> Any:
            services.refuse_proposal(found, actor=self.caller(request).actor)
            found.refresh_from_db()
            return ProposalOut(found).data

        return self.once(request, mine, 200, do)
