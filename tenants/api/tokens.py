"""Addresses of a tenant's automation tokens: who has which, and the end of the one that asks.

There is none to make one: a token is made by a person, freshly signed in, in the portal.
A token ends itself and no other.
"""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from byokportal import pages
from byokportal.errors import NotFound
from tenants import access, endpoints, roles, services
from tenants.audit import Actor
from tenants.models import AccessToken, Tenant

THIS = "this"  # in the place of an id: the token that asks


class AutomationTokenOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()
    acts_as = serializers.SerializerMethodField()
    permissions = serializers.ListField(child=serializers.ChoiceField(roles.TOKEN_PERMISSIONS))
    may_change_serving_key = serializers.BooleanField()
    status = serializers.ChoiceField(["valid", "revoked", "expired"], source="state")
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(source="ends_at")
    last_used_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)

    def get_acts_as(self, token: Any) -> str:
        return services.holder_of(token)


class AutomationTokensOut(serializers.Serializer[Any]):
    items = AutomationTokenOut(many=True)
    next = serializers.CharField(allow_null=True)


def _token(tenant: Tenant, text: str, actor: Actor) -> AccessToken:
    assert actor.token is not None
    wanted = actor.token.pk if text == THIS else endpoints.as_uuid(text)
    found = services.tokens_seen_by(actor, tenant).filter(pk=wanted).first()
    if found is None:
        raise NotFound
    return found


class Tokens(endpoints.TenantView):
    """Automation tokens: an owner's token sees all of the tenant, any other those of its member.
    A person makes them, in the portal."""

    problems = ("invalid_input", "not_allowed")

    @extend_schema(operation_id="list_tokens", parameters=[endpoints.CURSOR], responses=AutomationTokensOut)
    def get(self, request: Request, tenant: str) -> Response:
        mine = self.mine(request, tenant)
        rows = services.tokens_seen_by(self.caller(request).actor, mine)
        return Response(AutomationTokensOut(pages.numbered(rows, request.query_params.get("cursor", ""))).data)


class OneToken(endpoints.TenantView):
    """One automation token, by its id; `this` is the one that asks. DELETE ends that one, and no other."""

    problems = ("not_allowed",)

    @extend_schema(operation_id="get_token_of_tenant", responses=AutomationTokenOut)
    def get(self, request: Request, tenant: str, token: str) -> Response:
        mine = self.mine(request, tenant)
        return Response(AutomationTokenOut(_token(mine, token, self.caller(request).actor)).data)

    @extend_schema(operation_id="revoke_token", responses={204: None})
    def delete(self, request: Request, tenant: str, token: str) -> Response:
        mine = access.tenant_for(self.caller(request), tenant)
        access.require_member(self.caller(request))
        actor = self.caller(request).actor
        services.revoke_token(_token(mine, token, actor), actor=actor)
        return Response(status=204)
