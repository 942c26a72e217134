"""Addresses of a tenant's mail domains: named, looked up, removed."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from byokportal import pages
from tenants import endpoints, services
from tenants.api.people import RemoveIn
from tenants.models import MailDomain


class DomainIn(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=253)


class DomainOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()
    status = serializers.ChoiceField(["pending", "verified", "lapsed"])
    problem = serializers.ChoiceField(["", "missing", "taken", "unknown"])
    record_name = serializers.CharField()
    record_value = serializers.CharField()
    looked_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()


class DomainsOut(serializers.Serializer[Any]):
    items = DomainOut(many=True)
    next = serializers.CharField(allow_null=True)


class Domains(endpoints.TenantView):
    """Mail domains of the organisation; each counts once its TXT record was seen, and is looked up again every day."""

    problems = ("domain_not_yours", "invalid_input", "not_allowed", "second_person_needed", "too_many_domains")

    @extend_schema(operation_id="list_domains", parameters=[endpoints.CURSOR], responses=DomainsOut)
    def get(self, request: Request, tenant: str) -> Response:
        rows = MailDomain.objects.of(self.mine(request, tenant)).present()
        return Response(DomainsOut(pages.numbered(rows, request.query_params.get("cursor", ""))).data)

    @extend_schema(
        operation_id="add_domain", parameters=[endpoints.IDEMPOTENCY_KEY], request=DomainIn, responses={201: DomainOut}
    )
    def post(self, request: Request, tenant: str) -> Response:
        mine = self.mine(request, tenant)
        given = self.given(request, DomainIn)

        def do() -> Any:
            return DomainOut(services.add_domain(mine, **given, actor=self.caller(request).actor)).data

        return self.once(
            request, mine, 201, do, location=lambda kept: reverse("api:domain", args=[mine.pk, kept["id"]])
        )


class OneDomain(endpoints.TenantView):
    """One mail domain; DELETE gives it up, and ends the sessions that it let in."""

    problems = ("invalid_input", "not_allowed", "second_person_needed")

    @extend_schema(operation_id="get_domain", responses=DomainOut)
    def get(self, request: Request, tenant: str, domain: str) -> Response:
        mine = self.mine(request, tenant)
        return Response(DomainOut(services.mail_domain_of(mine, endpoints.as_uuid(domain))).data)

    @extend_schema(operation_id="remove_domain", request=RemoveIn, responses={204: None})
    def delete(self, request: Request, tenant: str, domain: str) -> Response:
        found = services.mail_domain_of(self.mine(request, tenant), endpoints.as_uuid(domain))
        services.remove_domain(found, **self.given(request, RemoveIn), actor=self.caller(request).actor)
        return Response(status=204)


class LookAtDomain(endpoints.TenantView):
    """Have the DNS record of a mail domain looked up now."""

    @extend_schema(
        operation_id="look_at_domain",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=None,
        responses={202: DomainOut},
    )
    def post(self, request: Request, tenant: str, domain: str) -> Response:
        mine = self.mine(request, tenant)
        found = services.mail_domain_of(mine, endpoints.as_uuid(domain))

        def do() -> Any:
            services.look_at_domain_again(found, actor=self.caller(request).actor)
            found.refresh_from_db()
            return DomainOut(found).data

        return self.once(request, mine, 202, do)
