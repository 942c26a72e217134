"""Addresses of a directory that tells by SCIM who is in: what it may do, its tokens, its groups and their roles.

A token of the directory is made on its page alone: it says who is in, and no automation token makes one.
"""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from byokportal import pages
from tenants import endpoints, services
from tenants.api.people import RemoveIn
from tenants.models import DirectoryGroup, DirectoryUser, Role


class DirectoryIn(serializers.Serializer[Any]):
    default_role = serializers.ChoiceField(["", "admin", "auditor"], required=False, default="", allow_blank=True)
    may_make_owners = serializers.BooleanField(required=False, default=False)


class DirectoryTokenOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)


class DirectoryOut(serializers.Serializer[Any]):
    default_role = serializers.CharField()
    may_make_owners = serializers.BooleanField()
    created_at = serializers.DateTimeField()
    tokens = DirectoryTokenOut(many=True)


class GroupOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField(source="display_name")
    role = serializers.CharField(help_text="empty: none")


class GroupsOut(serializers.Serializer[Any]):
    items = GroupOut(many=True)
    next = serializers.CharField(allow_null=True)


class GroupRoleIn(serializers.Serializer[Any]):
    role = serializers.ChoiceField(["", *Role.values], allow_blank=True)


class DirectoryUserOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    user_name = serializers.CharField()
    email = serializers.CharField()
    is_active = serializers.BooleanField()
    is_in = serializers.BooleanField()
    is_given = serializers.BooleanField(help_text="the membership came by the directory")


class DirectoryUsersOut(serializers.Serializer[Any]):
    items = DirectoryUserOut(many=True)
    next = serializers.CharField(allow_null=True)


class OneDirectory(endpoints.TenantView):
    """The directory that tells by SCIM who is in; its token is made on its page alone."""

    problems = ("invalid_input", "last_owner", "not_allowed", "second_person_needed", "too_few_approvers")

    @extend_schema(operation_id="get_directory", responses=DirectoryOut)
    def get(self, request: Request, tenant: str) -> Response:
        return Response(_shown(services.scim_directory_of(self.mine(request, tenant))))

    @extend_schema(operation_id="set_directory", request=DirectoryIn, responses=DirectoryOut)
    def put(self, request: Request, tenant: str) -> Response:
        mine = self.mine(request, tenant)
        given = self.given(request, DirectoryIn)
        return Response(_shown(services.set_directory(mine, **given, actor=self.caller(request).actor)))

    @extend_schema(operation_id="remove_directory", request=RemoveIn, responses={204: None})
    def delete(self, request: Request, tenant: str) -> Response:
        found = services.scim_directory_of(self.mine(request, tenant))
        services.remove_directory(found, **self.given(request, RemoveIn), actor=self.caller(request).actor)
        return Response(status=204)


class OneDirectoryToken(endpoints.TenantView):
    """A token of the directory; DELETE ends it now."""

    @extend_schema(operation_id="revoke_directory_token", request=None, responses={204: None})
    def delete(self, request: Request, tenant: str, scim_token: str) -> Response:
        found = services.directory_token_of(self.mine(request, tenant), endpoints.as_uuid(scim_token))
        services.revoke_directory_token(found, actor=self.caller(request).actor)
        return Response(status=204)


class DirectoryGroups(endpoints.TenantView):
    """The directory's groups, and the role that an owner gave each."""

    problems = ("invalid_input",)

    @extend_schema(operation_id="list_directory_groups", parameters=[endpoints.CURSOR], responses=GroupsOut)
    def get(self, request: Request, tenant: str) -> Response:
        rows = DirectoryGroup.objects.filter(directory__tenant=self.mine(request, tenant))
        return Response(GroupsOut(pages.numbered(rows, request.query_params.get("cursor", ""))).data)


class DirectoryGroupRole(endpoints.TenantView):
    """The role that a group of the directory gives."""

    problems = ("invalid_input", "last_owner", "not_allowed", "second_person_needed", "too_few_approvers")

    @extend_schema(operation_id="set_directory_group_role", request=GroupRoleIn, responses=GroupOut)
    def put(self, request: Request, tenant: str, group: str) -> Response:
        found = services.directory_group_of(self.mine(request, tenant), endpoints.as_uuid(group))
        given = self.given(request, GroupRoleIn)
        return Response(GroupOut(services.set_group_role(found, **given, actor=self.caller(request).actor)).data)


class DirectoryUsers(endpoints.TenantView):
    """The people whom the directory names, and which of them are in."""

    problems = ("invalid_input",)

    @extend_schema(operation_id="list_directory_users", parameters=[endpoints.CURSOR], responses=DirectoryUsersOut)
    def get(self, request: Request, tenant: str) -> Response:
        rows = DirectoryUser.objects.present().filter(directory__tenant=self.mine(request, tenant))
        found = pages.numbered(rows.select_related("member"), request.query_params.get("cursor", ""))
        return Response(DirectoryUsersOut(found).data)


def _shown(directory: Any) -> Any:
    tokens = directory.tokens.all()[:20]
    return DirectoryOut(
        {
            "default_role": directory.default_role,
            "may_make_owners": directory.may_make_owners,
            "created_at": directory.created_at,
            "tokens": tokens,
        }
    ).data
