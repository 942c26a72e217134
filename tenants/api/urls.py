"""Addresses of the tenants app below /api/v1/."""

from django.urls import path

from tenants.api import approvals, directory, domains, log, log_heads, log_streams, people, sign_on, tokens, views

urlpatterns = [
    path("oauth/token", views.Token.as_view(), name="token"),
    path("tenants/<str:tenant>/setup", views.Setup.as_view(), name="setup"),
    path("tenants/<str:tenant>/onboarding", views.Onboarding.as_view(), name="onboarding"),
    path("tenants/<str:tenant>/events", log.Events.as_view(), name="events"),
    path("tenants/<str:tenant>/events/export", log.EventsExport.as_view(), name="events-export"),
    path("tenants/<str:tenant>/events/export.csv", log.EventsExportCsv.as_view(), name="events-export-csv"),
    path("tenants/<str:tenant>/log/head", log_heads.LogHead.as_view(), name="log-head"),
    path("tenants/<str:tenant>/log/heads", log_heads.LogHeads.as_view(), name="log-heads"),
    path("tenants/<str:tenant>/log/heads/<str:head>", log_heads.OneLogHead.as_view(), name="one-log-head"),
    path("tenants/<str:tenant>/log/recipients", log_heads.HeadRecipients.as_view(), name="head-recipients"),
    path(
        "tenants/<str:tenant>/log/recipients/<str:recipient>",
        log_heads.OneHeadRecipient.as_view(),
        name="head-recipient",
    ),
    path("tenants/<str:tenant>/log/streams", log_streams.LogStreams.as_view(), name="log-streams"),
    path("tenants/<str:tenant>/log/streams/<str:stream>", log_streams.OneLogStream.as_view(), name="log-stream"),
    path(
        "tenants/<str:tenant>/log/streams/<str:stream>/rotate",
        log_streams.RotateLogStream.as_view(),
        name="rotate-log-stream",
    ),
    path(
        "tenants/<str:tenant>/log/streams/<str:stream>/switch-on",
        log_streams.SwitchLogStream.as_view(),
        name="log-stream-on",
    ),
    path(
        "tenants/<str:tenant>/log/streams/<str:stream>/switch-off",
        log_streams.SwitchOffLogStream.as_view(),
        name="log-stream-off",
    ),
    path(
        "tenants/<str:tenant>/log/streams/<str:stream>/test",
        log_streams.TestLogStream.as_view(),
        name="test-log-stream",
    ),
    path(
        "tenants/<str:tenant>/log/streams/<str:stream>/replay",
        log_streams.ReplayLogStream.as_view(),
        name="replay-log-stream",
    ),
    path("tenants/<str:tenant>/events/<str:event>/inclusion", log_heads.LogInclusion.as_view(), name="log-inclusion"),
    path("tenants/<str:tenant>/members", people.Members.as_view(), name="members"),
    path("tenants/<str:tenant>/members/<str:number>", people.OneMember.as_view(), name="member"),
    path("tenants/<str:tenant>/former-members", people.FormerMembers.as_view(), name="former-members"),
    path("tenants/<str:tenant>/former-members/<str:former>", people.OneFormerMember.as_view(), name="former-member"),
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
    path("tenants/<str:tenant>/directory", directory.OneDirectory.as_view(), name="api-directory"),
    path("tenants/<str:tenant>/directory/users", directory.DirectoryUsers.as_view(), name="directory-users"),
    path("tenants/<str:tenant>/directory/groups", directory.DirectoryGroups.as_view(), name="directory-groups"),
    path(
        "tenants/<str:tenant>/directory/groups/<str:group>/role",
        directory.DirectoryGroupRole.as_view(),
        name="api-directory-group-role",
    ),
    path(
        "tenants/<str:tenant>/directory/tokens/<str:scim_token>",
        directory.OneDirectoryToken.as_view(),
        name="directory-token",
    ),
    path("tenants/<str:tenant>/approvals", approvals.Approvals.as_view(), name="approvals"),
    path("tenants/<str:tenant>/approvals/<str:approval>", approvals.OneApproval.as_view(), name="approval"),
    path("tenants/<str:tenant>/sign-on", sign_on.SignOn.as_view(), name="api-sign-on"),
    path("tenants/<str:tenant>/sign-on/mode", sign_on.SignOnMode.as_view(), name="api-sign-on-mode"),
    path("tenants/<str:tenant>/tokens", tokens.Tokens.as_view(), name="tokens"),
    path("tenants/<str:tenant>/tokens/<str:token>", tokens.OneToken.as_view(), name="automation-token"),
]
