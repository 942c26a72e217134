"""Addresses of the documents of steps 2 and 3: their texts, what is chosen for them, what their deployment printed."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keys import services
from keys.actions import Variant
from keys.api.serializers import RegistrationOut
from keys.models import choices_of
from keys.policies import choices
from tenants import endpoints


class ChoicesIn(serializers.Serializer[Any]):
    role_path = serializers.CharField(required=False, default="/", max_length=600, allow_blank=True)
    permissions_boundary = serializers.CharField(required=False, default="", max_length=2048, allow_blank=True)
    tags = serializers.DictField(child=serializers.CharField(allow_blank=True), required=False, default=dict)
    makes_key = serializers.BooleanField(required=False, default=False)
    actions = serializers.CharField(
        required=False,
        default=Variant.GUIDE,
        max_length=16,
        help_text="guide or narrow: which actions the policies allow",
    )


class ChoicesOut(serializers.Serializer[Any]):
    role_path = serializers.CharField()
    permissions_boundary = serializers.CharField()
    tags = serializers.SerializerMethodField()
    makes_key = serializers.BooleanField()
    actions = serializers.CharField(help_text="guide or narrow; a registration that is shared keeps its own")

    def get_tags(self, chosen: Any) -> dict[str, str]:
        return dict(chosen.tags)


class OutputsIn(serializers.Serializer[Any]):
    outputs = serializers.CharField(max_length=65_536)


class Document(endpoints.TenantView):
    """One document of the guide, filled in; the raw text to paste."""

    problems = ("arns_missing", "document_unknown")

    @extend_schema(operation_id="get_document", responses={(200, "text/plain"): OpenApiTypes.STR})
    def get(self, request: Request, tenant: str, name: str) -> HttpResponse:
        text = services.document(self.mine(request, tenant), name)
        return HttpResponse(text, content_type="text/plain; charset=utf-8")


class ChangeRequest(endpoints.TenantView):
    """The change request for the people who own AWS, as Markdown: what, why, the exact documents, how to check and how
    to undo."""

    @extend_schema(operation_id="get_change_request", responses={(200, "text/markdown"): OpenApiTypes.STR})
    def get(self, request: Request, tenant: str) -> HttpResponse:
        text = services.change_request(self.mine(request, tenant))
        return HttpResponse(text, content_type="text/markdown; charset=utf-8")


class Choices(endpoints.TenantView):
    """What the documents say beside the guide's policies: role path, permissions boundary, tags, whether they make the
    key too, and which actions they allow. A PUT replaces all of it; what it leaves out goes back to its default."""

    problems = ("invalid_input", "not_allowed", "registration_busy")

    @extend_schema(operation_id="get_document_choices", responses=ChoicesOut)
    def get(self, request: Request, tenant: str) -> Response:
        return Response(ChoicesOut(choices_of(self.mine(request, tenant))).data)

    @extend_schema(operation_id="choose_documents", request=ChoicesIn, responses=ChoicesOut)
    def put(self, request: Request, tenant: str) -> Response:
        mine = self.mine(request, tenant)
        given = self.given(request, ChoicesIn)
        chosen = choices.Choices.read(**{**given, "tags": given["tags"].items()})
        return Response(ChoicesOut(services.choose_documents(mine, chosen, actor=self.caller(request).actor)).data)


class Outputs(endpoints.TenantView):
    """What a deployment printed: stack outputs, `terraform output -json`, or an ARN alone. Both ARNs are taken out of
    it and saved as `PUT …/registration` does; a repeat changes nothing."""

    problems = (
        "invalid_input",
        "arn_refused",
        "secret_pasted",
        "registration_busy",
        "not_allowed",
        "token_not_marked",
    )

    @extend_schema(operation_id="save_outputs", request=OutputsIn, responses=RegistrationOut)
    def put(self, request: Request, tenant: str) -> Response:
        mine = self.mine(request, tenant)
        text = self.given(request, OutputsIn)["outputs"]
        return Response(RegistrationOut(services.save_outputs(mine, text=text, actor=self.caller(request).actor)).data)
