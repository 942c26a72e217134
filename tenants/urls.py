"""Portal addresses of the tenants app; `byokportal.urls` puts them under the namespace `portal`."""

from django.urls import path

from tenants.views import address, approvals, invitation, organisation, people, recovery, sign_on, sign_on_flow, tokens

urlpatterns = [
    path("", organisation.home, name="home"),
    path("invitations/<str:secret>/", invitation.link, name="invitation-link"),
    path("invitation/", invitation.invitation, name="invitation"),
    path("address/", address.address, name="address"),
    path("address/confirm/", address.confirm, name="confirm-address"),
    path("addresses/<str:secret>/", address.link, name="address-link"),
    path("recoveries/<str:secret>/", recovery.link, name="recovery-link"),
    path("recovery/", recovery.recovery, name="recovery"),
    path("recovery/stopped/", recovery.stopped, name="recovery-stopped"),
    path("sign-on/", sign_on_flow.start, name="sign-on-start"),
    path("sign-on/go/", sign_on_flow.go, name="sign-on-go"),
    path("sign-on/finish/", sign_on_flow.finish, name="sign-on-finish"),
    path("sign-on/link/", sign_on_flow.link, name="sign-on-link"),
    path("sign-on/again/", sign_on_flow.again, name="sign-on-again"),
    path("sign-on/<uuid:tenant>/callback/", sign_on_flow.callback, name="sign-on-callback"),
    path("tenants/<uuid:tenant>/", organisation.tracker, name="tracker"),
    path("tenants/<uuid:tenant>/log/", organisation.log, name="log"),
    path("tenants/<uuid:tenant>/people/", people.members, name="members"),
    path("tenants/<uuid:tenant>/people/<int:number>/role/", people.change_role, name="change-role"),
    path("tenants/<uuid:tenant>/people/<int:number>/remove/", people.remove_member, name="remove-member"),
    path(
        "tenants/<uuid:tenant>/people/<int:number>/second-factor/",
        people.reset_second_factor,
        name="reset-second-factor",
    ),
    path(
        "tenants/<uuid:tenant>/recoveries/<uuid:recovery>/object/", recovery.object_signed_in, name="object-to-recovery"
    ),
    path(
        "tenants/<uuid:tenant>/invitations/<uuid:invitation>/resend/",
        people.resend_invitation,
        name="resend-invitation",
    ),
    path(
        "tenants/<uuid:tenant>/invitations/<uuid:invitation>/withdraw/",
        people.withdraw_invitation,
        name="withdraw-invitation",
    ),
    path("tenants/<uuid:tenant>/sign-on/", sign_on.sign_on, name="sign-on"),
    path("tenants/<uuid:tenant>/sign-on/needed/", sign_on_flow.needed, name="sign-on-needed"),
    path("tenants/<uuid:tenant>/sign-on/link/", sign_on_flow.begin_link, name="begin-sign-on-link"),
    path("tenants/<uuid:tenant>/sign-on/unlink/", sign_on_flow.unlink, name="unlink-sign-on"),
    path("tenants/<uuid:tenant>/sign-on/connection/", sign_on.connection, name="sign-on-connection"),
    path("tenants/<uuid:tenant>/sign-on/mode/", sign_on.mode, name="sign-on-mode"),
    path("tenants/<uuid:tenant>/sign-on/remove/", sign_on.remove, name="remove-sign-on"),
    path("tenants/<uuid:tenant>/sign-on/domains/", sign_on.add_domain, name="add-domain"),
    path("tenants/<uuid:tenant>/sign-on/domains/<uuid:domain>/look/", sign_on.look_at_domain, name="look-at-domain"),
    path("tenants/<uuid:tenant>/sign-on/domains/<uuid:domain>/remove/", sign_on.remove_domain, name="remove-domain"),
    path("tenants/<uuid:tenant>/approvals/", approvals.approvals, name="approvals"),
    path("tenants/<uuid:tenant>/approvals/require/", approvals.require_second_person, name="require-second-person"),
    path("tenants/<uuid:tenant>/approvals/drop/", approvals.drop_second_person, name="drop-second-person"),
    path("tenants/<uuid:tenant>/approvals/<uuid:approval>/approve/", approvals.approve, name="approve"),
    path("tenants/<uuid:tenant>/approvals/<uuid:approval>/refuse/", approvals.refuse, name="refuse"),
    path("tenants/<uuid:tenant>/approvals/<uuid:approval>/withdraw/", approvals.withdraw, name="withdraw-approval"),
    path("tenants/<uuid:tenant>/automation/", tokens.tokens, name="tokens"),
    path("tenants/<uuid:tenant>/automation/<uuid:token>/revoke/", tokens.revoke_token, name="revoke-token"),
]
