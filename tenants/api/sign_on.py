"""Addresses of the connection to a tenant's directory: set up, offered, required, removed."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from byokportal.errors import InvalidInput
from tenants import endpoints, oidc, roles, saml_metadata, services
from tenants.api.people import RemoveIn
from tenants.models import Member, Role, SignOnConnection

MODES = ["draft", "offered", "required"]
PROTOCOLS = ["oidc", "saml"]


class SignOnIn(serializers.Serializer[Any]):
    protocol = serializers.ChoiceField(PROTOCOLS, required=False, default="oidc")
    issuer = serializers.CharField(max_length=500, required=False, default="", help_text="OpenID Connect needs it")
    client_id = serializers.CharField(max_length=200, required=False, default="", help_text="OpenID Connect needs it")
    client_secret = serializers.CharField(
        max_length=500, required=False, default="", help_text="leave it out to keep the one before"
    )
    metadata_url = serializers.CharField(
        max_length=500,
        required=False,
        default="",
        help_text="SAML: where the directory publishes its metadata; it is read now and every day",
    )
    metadata = serializers.CharField(
        max_length=60_000, required=False, default="", help_text="SAML: the metadata itself, in place of its address"
    )
    role_claim = serializers.CharField(
        max_length=120, required=False, default="", allow_blank=True, help_text="claim or attribute that names roles"
    )
    role_values = serializers.DictField(
        child=serializers.ChoiceField(Role.choices), required=False, default=dict, help_text="value of the claim → role"
    )
    default_role = serializers.ChoiceField(["", "admin", "auditor"], required=False, default="", allow_blank=True)
    may_make_owners = serializers.BooleanField(required=False, default=False)
    factor_values = serializers.ListField(
        child=serializers.CharField(max_length=200),
        required=False,
        default=["mfa"],
        help_text="values of amr, acr or AuthnContextClassRef that mean: with a second factor",
    )


class ModeIn(serializers.Serializer[Any]):
    mode = serializers.ChoiceField(MODES)
    break_glass = serializers.IntegerField(
        required=False,
        default=None,
        allow_null=True,
        help_text="with required: the number of the owner who still signs in without it",
    )


class CertificateOut(serializers.Serializer[Any]):
    subject = serializers.CharField()
    fingerprint = serializers.CharField(help_text="SHA-256")
    ends_at = serializers.DateTimeField()


class SignOnOut(serializers.Serializer[Any]):
    protocol = serializers.ChoiceField(PROTOCOLS)
    issuer = serializers.CharField()
    client_id = serializers.CharField()
    metadata_url = serializers.SerializerMethodField()
    certificates = serializers.SerializerMethodField(help_text="SAML: by which the directory signs")
    mode = serializers.ChoiceField(MODES)
    break_glass = serializers.IntegerField(source="break_glass_id", allow_null=True)
    role_claim = serializers.CharField()
    role_values = serializers.DictField(child=serializers.CharField())
    default_role = serializers.CharField()
    may_make_owners = serializers.BooleanField()
    factor_values = serializers.ListField(child=serializers.CharField())
    created_at = serializers.DateTimeField()

    def get_metadata_url(self, connection: SignOnConnection) -> str:
        return str(connection.provider.get("metadata_url", ""))

    @extend_schema_field(CertificateOut(many=True))
    def get_certificates(self, connection: SignOnConnection) -> Any:
        return CertificateOut(saml_metadata.certificates_of(connection.provider), many=True).data


class SignOn(endpoints.TenantView):
    """The connection to the organisation's directory, by OpenID Connect or SAML 2.0. A new one is a draft until an
    owner has linked an account by it, in the portal."""

    problems = (
        "address_refused",
        "address_unreachable",
        "directory_unfit",
        "invalid_input",
        "last_owner",
        "not_allowed",
        "second_person_needed",
    )

    @extend_schema(operation_id="get_sign_on", responses=SignOnOut)
    def get(self, request: Request, tenant: str) -> Response:
        return Response(SignOnOut(services.connection_of(self.mine(request, tenant))).data)

    @extend_schema(operation_id="set_sign_on", request=SignOnIn, responses=SignOnOut)
    def put(self, request: Request, tenant: str) -> Response:
        mine, actor = self.mine(request, tenant), self.caller(request).actor
        roles.require(actor, "tenants.change_sign_on", mine)  # before anybody is called for it
        given = self.given(request, SignOnIn)
        source = {name: given.pop(name) for name in ("metadata_url", "metadata")}
        if given["protocol"] == SignOnConnection.Protocol.SAML:
            given |= {"client_id": "", "client_secret": ""}
            given["issuer"], provider = saml_metadata.given(**source, whose=str(mine.pk))
        elif given["issuer"]:
            provider = oidc.discover(given["issuer"], whose=str(mine.pk))
        else:
            raise InvalidInput(errors={"issuer": ["Give the issuer's address."]})
        return Response(SignOnOut(services.set_connection(mine, **given, provider=provider, actor=actor)).data)

    @extend_schema(operation_id="remove_sign_on", request=RemoveIn, responses={204: None})
    def delete(self, request: Request, tenant: str) -> Response:
        present = services.connection_of(self.mine(request, tenant))
        services.remove_connection(present, **self.given(request, RemoveIn), actor=self.caller(request).actor)
        return Response(status=204)


class SignOnMode(endpoints.TenantView):
    """How far the connection counts: draft, offered, or required."""

    problems = ("invalid_input", "not_allowed", "second_person_needed", "sign_on_not_ready")

    @extend_schema(operation_id="set_sign_on_mode", request=ModeIn, responses=SignOnOut)
    def put(self, request: Request, tenant: str) -> Response:
        mine = self.mine(request, tenant)
        present: SignOnConnection = services.connection_of(mine)
        given = self.given(request, ModeIn)
        keeper = Member.objects.of(mine).filter(pk=given["break_glass"]).first() if given["break_glass"] else None
        changed = services.set_sign_on_mode(
            present, mode=given["mode"], break_glass=keeper, actor=self.caller(request).actor
        )
        return Response(SignOnOut(changed).data)
