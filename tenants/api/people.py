"""Addresses of the people of a tenant: members, their roles and ways out, invitations."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from byokportal import pages
from byokportal.errors import NotFound
from tenants import endpoints, services
from tenants.models import Invitation, Member, Role, Tenant

REMOVED = "removed by the API"


class MemberOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    email = serializers.EmailField(source="user.email")
    role = serializers.CharField()
    is_active = serializers.BooleanField(source="user.is_active")
    invited_by = serializers.SerializerMethodField()
    since = serializers.DateTimeField(source="created_at")

    def get_invited_by(self, member: Any) -> str:
        invitation = getattr(member, "invitation", None)
        return services.inviter_of(invitation) if invitation else ""


class MembersOut(serializers.Serializer[Any]):
    items = MemberOut(many=True)
    next = serializers.CharField(allow_null=True)


class RoleIn(serializers.Serializer[Any]):
    role = serializers.ChoiceField(Role.choices)


class RemoveIn(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=200, required=False, default=REMOVED)


class FormerMemberOut(serializers.Serializer[Any]):
    id = serializers.IntegerField(source="member.pk")
    email = serializers.EmailField()
    role = serializers.CharField(source="member.role")
    since = serializers.DateTimeField(source="member.created_at")
    until = serializers.DateTimeField(source="member.removed_at")
    ended_by = serializers.CharField(help_text="As the log names who did it; empty: the log does not say.")


class FormerMembersOut(serializers.Serializer[Any]):
    items = FormerMemberOut(many=True)
    next = serializers.CharField(allow_null=True)


class ForgetIn(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=200, help_text="The log keeps it for ever: do not name the person.")


class InvitationIn(serializers.Serializer[Any]):
    email = serializers.CharField(max_length=150)
    role = serializers.ChoiceField(Role.choices)


class InvitationOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    email = serializers.EmailField()
    role = serializers.CharField()
    status = serializers.ChoiceField(["pending", "used", "withdrawn", "expired"], source="state")
    invited_by = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()

    def get_invited_by(self, invitation: Any) -> str:
        return services.inviter_of(invitation)


class InvitationsOut(serializers.Serializer[Any]):
    items = InvitationOut(many=True)
    next = serializers.CharField(allow_null=True)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0


def _member(tenant: Tenant, number: str) -> Member:
    found = (
        Member.objects.of(tenant)
        .filter(pk=_number(number))
        .select_related("user", "tenant", "invitation__inviter__user")
        .first()
    )
    if found is None:
        raise NotFound
    return found


class Members(endpoints.TenantView):
    """Who is in the organisation, and who let them in."""

    problems = ("invalid_input", "not_allowed")

    @extend_schema(operation_id="list_members", parameters=[endpoints.CURSOR], responses=MembersOut)
    def get(self, request: Request, tenant: str) -> Response:
        rows = Member.objects.of(self.mine(request, tenant)).select_related("user", "invitation__inviter__user")
        return Response(MembersOut(pages.page(rows, request.query_params.get("cursor", ""))).data)


class OneMember(endpoints.TenantView):
    """One member: another role, or the way out."""

    problems = (
        "break_glass_owner",
        "invalid_input",
        "last_owner",
        "not_allowed",
        "second_person_needed",
        "too_few_approvers",
    )

    @extend_schema(operation_id="get_member", responses=MemberOut)
    def get(self, request: Request, tenant: str, number: str) -> Response:
        return Response(MemberOut(_member(self.mine(request, tenant), number)).data)

    @extend_schema(operation_id="change_member_role", request=RoleIn, responses=MemberOut)
    def patch(self, request: Request, tenant: str, number: str) -> Response:
        mine = self.mine(request, tenant)
        member = _member(mine, number)
        services.change_role(member, **self.given(request, RoleIn), actor=self.caller(request).actor)
        return Response(MemberOut(_member(mine, number)).data)

    @extend_schema(operation_id="remove_member", request=RemoveIn, responses={204: None})
    def delete(self, request: Request, tenant: str, number: str) -> Response:
        member = _member(self.mine(request, tenant), number)
        services.remove_member(member, **self.given(request, RemoveIn), actor=self.caller(request).actor)
        return Response(status=204)


class FormerMembers(endpoints.TenantView):
    """Who was in and is not any more, and who ended that; those who were forgotten are not there."""

    problems = ("invalid_input", "not_allowed")

    @extend_schema(operation_id="list_former_members", parameters=[endpoints.CURSOR], responses=FormerMembersOut)
    def get(self, request: Request, tenant: str) -> Response:
        rows = services.former_members_of(self.mine(request, tenant))
        found = pages.numbered(rows, request.query_params.get("cursor", ""))
        return Response(FormerMembersOut({**found, "items": services.described(found["items"])}).data)


class OneFormerMember(endpoints.TenantView):
    """One former member; DELETE forgets the person in this organisation for good, and in no other one."""

    problems = ("invalid_input", "not_allowed", "second_person_needed")

    @extend_schema(operation_id="get_former_member", responses=FormerMemberOut)
    def get(self, request: Request, tenant: str, former: str) -> Response:
        found = services.former_member_of(self.mine(request, tenant), _number(former))
        return Response(FormerMemberOut(services.described([found])[0]).data)

    @extend_schema(operation_id="forget_member", request=ForgetIn, responses={204: None})
    def delete(self, request: Request, tenant: str, former: str) -> Response:
        found = services.former_member_of(self.mine(request, tenant), _number(former))
        services.forget_member(found, **self.given(request, ForgetIn), actor=self.caller(request).actor)
        return Response(status=204)


class Invitations(endpoints.TenantView):
    """Who is invited: the person becomes a member by the mailed link, once, within seven days."""

    problems = (
        "already_invited",
        "already_member",
        "invalid_input",
        "not_allowed",
        "second_person_needed",
        "staff_address",
        "too_many_invitations",
    )

    @extend_schema(operation_id="list_invitations", parameters=[endpoints.CURSOR], responses=InvitationsOut)
    def get(self, request: Request, tenant: str) -> Response:
        rows = Invitation.objects.of(self.mine(request, tenant)).select_related("inviter__user")
        return Response(InvitationsOut(pages.numbered(rows, request.query_params.get("cursor", ""))).data)

    @extend_schema(
        operation_id="invite",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=InvitationIn,
        responses={201: InvitationOut},
    )
    def post(self, request: Request, tenant: str) -> Response:
        mine = self.mine(request, tenant)
        given = self.given(request, InvitationIn)

        def do() -> Any:
            return InvitationOut(services.invite(mine, **given, actor=self.caller(request).actor)).data

        return self.once(
            request, mine, 201, do, location=lambda kept: reverse("api:invitation", args=[mine.pk, kept["id"]])
        )


class OneInvitation(endpoints.TenantView):
    """One invitation; DELETE withdraws it."""

    problems = ("invalid_input", "invitation_over", "not_allowed")

    @extend_schema(operation_id="get_invitation", responses=InvitationOut)
    def get(self, request: Request, tenant: str, invitation: str) -> Response:
        mine = self.mine(request, tenant)
        return Response(InvitationOut(services.invitation_of(mine, endpoints.as_uuid(invitation))).data)

    @extend_schema(operation_id="withdraw_invitation", request=RemoveIn, responses={204: None})
    def delete(self, request: Request, tenant: str, invitation: str) -> Response:
        found = services.invitation_of(self.mine(request, tenant), endpoints.as_uuid(invitation))
        services.withdraw_invitation(found, **self.given(request, RemoveIn), actor=self.caller(request).actor)
        return Response(status=204)


class ResendInvitation(endpoints.TenantView):
    """Mail an invitation again: a new link, seven more days; the link before ends."""

    problems = ("invitation_over", "not_allowed", "too_many_invitations")

    @extend_schema(
        operation_id="resend_invitation",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=None,
        responses={202: InvitationOut},
    )
    def post(self, request: Request, tenant: str, invitation: str) -> Response:
        mine = self.mine(request, tenant)
        found = services.invitation_of(mine, endpoints.as_uuid(invitation))

        def do() -> Any:
            services.resend_invitation(found, actor=self.caller(request).actor)
            found.refresh_from_db()
            return InvitationOut(found).data

        return self.once(request, mine, 202, do)
