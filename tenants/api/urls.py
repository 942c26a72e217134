"""Addresses of the tenants app below /api/v1/."""

from django.urls import path

from tenants.api import approvals, domains, people, sign_on, tokens, views

urlpatterns = [
    path("oauth/token", views.Token.as_view(), name="token"),
    path("tenants/<str:tenant>/setup", views.Setup.as_view(), name="setup"),
    path("tenants/<str:tenant>/onboarding", views.Onboarding.as_view(), name="onboarding"),
    path("tenants/<str:tenant>/events", views.Events.as_view(), name="events"),
    path("tenants/<str:tenant>/events/export", views.EventsExport.as_view(), name="events-export"),
    path("tenants/<str:tenant>/members", people.Members.as_view(), name="members"),
    path("tenants/<str:tenant>/members/<str:number>", people.OneMember.as_view(), name="member"),
    path("tenants/<str:tenant>/invitations", people.Invitations.as_view(), name="invitations"),
    path("tenants/<str:tenant>/invitations/<str:invitation>", people.OneInvitation.as_view(), name="invitation"),
    path(
        "tenants/<str:tenant>/invitations/<str:invitation>/resend",
        people.ResendInvitation.as_view(),
        name="resend-invitation",
    ),
    path("tenants/<str:tenant>/domains", domains.Domains.as_view(), name="domains"),
    path("tenants/<str:tenant>/domains/<str:domain>", domains.OneDomain.as_view(), name="domain"),
    path("tenants/<str:tenant>/domains/<str:domain>/look", domains.LookAtDomain.as_view(), name="look-at-domain"),
    path("tenants/<str:tenant>/approvals", approvals.Approvals.as_view(), name="approvals"),
    path("tenants/<str:tenant>/approvals/<str:approval>", approvals.OneApproval.as_view(), name="approval"),
    path("tenants/<str:tenant>/sign-on", sign_on.SignOn.as_view(), name="api-sign-on"),
    path("tenants/<str:tenant>/sign-on/mode", sign_on.SignOnMode.as_view(), name="api-sign-on-mode"),
    path("tenants/<str:tenant>/tokens", tokens.Tokens.as_view(), name="tokens"),
    path("tenants/<str:tenant>/tokens/<str:token>", tokens.OneToken.as_view(), name="automation-token"),
]
