"""Former members: who was in, until when, who ended that; and an owner who forgets one of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from conftest import acting, invited, join, lines_by
from django.contrib.auth.models import User
from django.test import Client
from named import everywhere
from restores import Backup, check

from byokportal import clock
from byokportal.errors import NotFound
from keys.models import KeyRegistration
from support import follow
from support import services as support_services
from support.models import Notice, Ticket
from tenants import audit, log_trees, services
from tenants.models import (
    Approval,
    AuditEvent,
    DirectoryUser,
    Invitation,
    Member,
    PersonName,
    Role,
    SignOnConnection,
    SignOnIdentity,
    Tenant,
)

pytestmark = pytest.mark.django_db
CAROL = "carol@acme.example"
JSON = "application/json"
FORM = {"reason": "asked for on 3 March", "sure": "on"}


@pytest.fixture
def carol(tenant: Tenant, alice: Member) -> Member:
    """Somebody who came, did this and that, and was shown out."""
    member = invited(tenant, CAROL, Role.ADMIN)
    services.mint_token(member, name="for Carol", actor=acting(member))
    support_services.open_ticket(
        tenant, subject=f"Who is {CAROL}?", text=f"I am {CAROL}.", topic=Ticket.Topic.KEY, actor=acting(member)
    )
    services.remove_member(member, reason="left the company", actor=acting(alice))
    follow.follow()
    return member


def page(member: Member, former: Member | None = None) -> str:
    return f"/tenants/{member.tenant_id}/people/" + (f"{former.pk}/forget/" if former else "")


def api_address(former: Member | None = None) -> str:
    return f"/api/v1/tenants/{former.tenant_id}/former-members/{former.pk}" if former else ""


def refused(answer: Any) -> str:
    """Return what a page says that was shown again."""
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_the_people_page_says_who_was_in_until_when_and_who_ended_that(
    tenant: Tenant, alice: Member, bob: Member, carol: Member, browser_of: Callable[..., Client]
) -> None:
    services.leave_organisation(invited(tenant, "dora@acme.example", Role.AUDITOR), actor=acting(_last(tenant)))
    shown = browser_of(alice).get(page(alice)).content.decode()
    rows = shown.split("Former members")[2].split("<tr>")[2:]
    assert len(rows) == 2 and "dora@acme.example" in rows[0] and ">themselves<" in rows[0]
    assert CAROL in rows[1] and "Admin" in rows[1] and ">alice@acme.example<" in rows[1]
    assert page(alice, carol) in rows[1]
    assert "/forget/" not in browser_of(bob).get(page(bob)).content.decode(), "an auditor reads"
    # Who is in again is no former member.
    again = _back(carol, alice)
    assert page(alice, carol) not in browser_of(alice).get(page(alice)).content.decode()
    services.remove_member(again, reason="r", actor=acting(alice))
    assert [one.pk for one in services.former_members_of(tenant).filter(user__email=CAROL)] == [again.pk]


def _back(former: Member, owner: Member) -> Member:
    invitation = services.invite(owner.tenant, email=former.user.email, role=Role.AUDITOR, actor=acting(owner))
    return services.accept_invitation(services.new_link(invitation), user=former.user)


def _last(tenant: Tenant) -> Member:
    return Member.objects.of(tenant).select_related("user", "tenant").latest("pk")


def test_an_owner_forgets_a_former_member_and_nothing_names_them_any_more(
    tenant: Tenant, alice: Member, carol: Member, browser_of: Callable[..., Client]
) -> None:
    log_trees.seal()
    before = list(AuditEvent.objects.of(tenant).order_by("pk").values_list("pk", "actor", "payload", "seal"))
    client = browser_of(alice)
    shown = client.get(page(alice, carol)).content.decode()
    assert "What stays" in shown and "Not yet" not in shown
    assert "do not name" in refused(client.post(page(alice, carol), {"reason": "", "sure": ""}))
    assert "does not name them" in refused(client.post(page(alice, carol), {**FORM, "reason": f"{CAROL} asked"}))
    assert everywhere(CAROL)
    assert client.post(page(alice, carol), FORM).status_code == 302
    follow.follow()
    assert everywhere(CAROL) == []
    kept = list(AuditEvent.objects.filter(pk__in=[one[0] for one in before]).order_by("pk"))
    assert [(one.pk, one.actor, one.payload, one.seal) for one in kept] == before, "no line changes, and no leaf"
    [line] = lines_by("member:alice@acme.example", "tenants.person.erased")
    [name] = PersonName.objects.filter(tenant=tenant).exclude(erased_at=None)
    assert line.tenant == tenant
    assert audit.sentence(line) == f"The name of an erased person ({name.pk[:8]}) was erased: asked for on 3 March"
    user = User.objects.get(pk=carol.user_id)
    assert not user.is_active and not user.has_usable_password() and not EmailAddress.objects.filter(user=user).exists()
    assert Notice.objects.filter(template="people-changed", recipient="alice@acme.example").exists()
    # They are gone from the list, and twice is once.
    assert "Former members" not in client.get(page(alice)).content.decode()
    assert client.post(page(alice, carol), FORM).status_code == 404
    with pytest.raises(NotFound):
        services.forget_member(carol, reason="r", actor=acting(alice))


def test_another_organisation_keeps_what_it_knows(
    tenant: Tenant, alice: Member, carol: Member, mallory: Member, browser_of: Callable[..., Client]
) -> None:
    other = services.invite(mallory.tenant, email=CAROL, role=Role.AUDITOR, actor=acting(mallory))
    theirs = services.accept_invitation(services.new_link(other), user=carol.user)
    before = list(AuditEvent.objects.of(mallory.tenant).order_by("pk").values_list("pk", "actor", "payload"))
    assert browser_of(alice).post(page(alice, carol), FORM).status_code == 302
    theirs.refresh_from_db()
    assert (theirs.user_id, theirs.removed_at) == (carol.user_id, None)
    user = User.objects.get(pk=carol.user_id)
    assert (user.email, user.is_active) == (CAROL, True) and user.has_usable_password()
    assert PersonName.objects.filter(tenant=mallory.tenant, text=CAROL, erased_at=None).exists()
    assert Invitation.objects.get(pk=other.pk).email == CAROL
    assert list(AuditEvent.objects.of(mallory.tenant).order_by("pk").values_list("pk", "actor", "payload")) == before
    # Here nothing leads to the person any more.
    ours = Member.everybody.select_related("user").get(pk=carol.pk)
    assert ours.user_id != carol.user_id and ours.user.email.endswith("@erased.invalid") and not ours.user.is_active
    assert not PersonName.objects.filter(tenant=tenant, text=CAROL).exists()
    assert not Invitation.objects.filter(tenant=tenant, email=CAROL).exists()
    assert CAROL not in browser_of(alice).get(page(alice)).content.decode()
    # A former member of another organisation is a row of theirs, too.
    services.remove_member(theirs, reason="r", actor=acting(mallory))
    assert services.former_members_of(mallory.tenant).get().user.email == CAROL


def test_an_address_of_another_organisation_is_neither_shown_nor_erased(
    tenant: Tenant, alice: Member, carol: Member, mallory: Member, browser_of: Callable[..., Client]
) -> None:
    """Whoever left may have another address since; the organisation knows the one of then."""
    other = services.invite(mallory.tenant, email=CAROL, role=Role.AUDITOR, actor=acting(mallory))
    theirs = services.accept_invitation(services.new_link(other), user=carol.user)
    User.objects.filter(pk=theirs.user_id).update(email="carol@evil.example")
    client = browser_of(alice)
    assert CAROL in client.get(page(alice)).content.decode()
    assert (
        "evil.example" not in client.get(page(alice)).content.decode() + client.get(page(alice, carol)).content.decode()
    )
    assert client.post(page(alice, carol), FORM).status_code == 302
    assert not PersonName.objects.filter(tenant=tenant, text=CAROL).exists()
    assert User.objects.get(pk=theirs.user_id).email == "carol@evil.example"


def test_each_address_that_the_organisation_knew_goes(
    tenant: Tenant, alice: Member, carol: Member, browser_of: Callable[..., Client]
) -> None:
    again = _back(carol, alice)
    User.objects.filter(pk=again.user_id).update(email="carol.new@acme.example")
    audit.record(
        "tenants.member.address_changed",
        tenant=tenant,
        actor=audit.SYSTEM,
        target=again.user,
        old=CAROL,
        email="carol.new@acme.example",
    )
    again = Member.objects.select_related("user", "tenant").get(pk=again.pk)
    services.remove_member(again, reason="r", actor=acting(alice))
    assert browser_of(alice).post(page(alice, again), FORM).status_code == 302
    assert everywhere(CAROL) == everywhere("carol.new@acme.example") == []
    assert len(lines_by("member:alice@acme.example", "tenants.person.erased")) == 2


def test_whoever_is_still_to_be_found_here_is_not_forgotten(
    tenant: Tenant, alice: Member, carol: Member, mallory: Member, browser_of: Callable[..., Client]
) -> None:
    client = browser_of(alice)
    services.add_head_recipient(tenant, email=CAROL, actor=acting(alice))
    invitation = services.invite(tenant, email=CAROL, role=Role.AUDITOR, actor=acting(alice))
    directory = services.set_directory(tenant, actor=acting(alice))
    person = DirectoryUser.objects.create(
        directory=directory, user_name="c", user_name_key="c", is_active=False, resource={}, member=carol
    )
    for shown in (client.get(page(alice, carol)), client.post(page(alice, carol), FORM)):
        text = refused(shown)
        assert "the head of a log is mailed to them" in text
        assert "an invitation is open" in text and "a directory still names them" in text
    assert PersonName.objects.filter(tenant=tenant, text=CAROL, erased_at=None).exists()
    person.delete()
    services.withdraw_invitation(invitation, reason="r", actor=acting(alice))
    services.remove_head_recipient(tenant.head_recipients.get(), actor=acting(alice))
    # What another organisation has to do with them is nothing to this one.
    services.invite(mallory.tenant, email=CAROL, role=Role.AUDITOR, actor=acting(mallory))
    assert client.post(page(alice, carol), FORM).status_code == 302
    assert User.objects.get(pk=carol.user_id).is_active, "the account is needed to accept that invitation"
    assert Invitation.objects.open().get().email == CAROL


def test_how_the_sign_on_knew_them_goes(
    tenant: Tenant, alice: Member, carol: Member, browser_of: Callable[..., Client]
) -> None:
    connection = SignOnConnection.objects.create(tenant=tenant, issuer="https://directory.example", client_id="c")
    identity = SignOnIdentity.objects.create(
        connection=connection, issuer="https://directory.example", subject="carol-1", member=carol, email=CAROL
    )
    assert browser_of(alice).post(page(alice, carol), FORM).status_code == 302
    identity.refresh_from_db()
    assert identity.subject == f"erased {identity.pk}" and identity.email.endswith("@erased.invalid")


def test_who_may_not(
    tenant: Tenant,
    alice: Member,
    bob: Member,
    carol: Member,
    mallory: Member,
    browser_of: Callable[..., Client],
    api_of: Callable[..., Client],
) -> None:
    admin = invited(tenant, "dora@acme.example", Role.ADMIN)
    for member in (admin, bob):
        assert browser_of(member).post(page(member, carol), FORM).status_code == 403
        assert api_of(member).delete(api_address(carol), FORM, content_type=JSON).status_code == 403
    assert browser_of(mallory).post(page(alice, carol), FORM).status_code == 404
    assert browser_of(mallory).post(page(mallory, carol), FORM).status_code == 404
    assert api_of(mallory).delete(api_address(carol), FORM, content_type=JSON).status_code == 404
    stale = browser_of(alice, is_fresh=False).post(page(alice, carol), FORM)
    assert stale.status_code != 200 and "reauthenticate" in stale.headers.get("Location", "")
    # Who is in is removed first.
    assert browser_of(alice).post(page(alice, bob), FORM).status_code == 404
    assert PersonName.objects.filter(tenant=tenant, text=CAROL, erased_at=None).exists()


def test_the_same_by_api(
    tenant: Tenant, alice: Member, bob: Member, carol: Member, api_of: Callable[..., Client]
) -> None:
    api = api_of(alice)
    [found] = api.get(f"/api/v1/tenants/{tenant.pk}/former-members").json()["items"]
    assert (found["id"], found["email"], found["role"]) == (carol.pk, CAROL, "admin")
    assert found["ended_by"] == "member:alice@acme.example" and found["since"] < found["until"]
    assert api.get(api_address(carol)).json() == found
    assert api_of(bob).get(api_address(carol)).json() == found
    assert api.delete(api_address(carol), {}, content_type=JSON).status_code == 400
    answer = api.delete(api_address(carol), {"reason": f"{CAROL} asked"}, content_type=JSON)
    assert answer.status_code == 400 and "reason" in answer.json()["errors"]
    assert api.delete(api_address(carol), {"reason": "asked for"}, content_type=JSON).status_code == 204
    assert api.delete(api_address(carol), {"reason": "asked for"}, content_type=JSON).status_code == 404
    assert api.get(f"/api/v1/tenants/{tenant.pk}/former-members").json() == {"items": [], "next": None}
    assert everywhere(CAROL) == []


def test_a_second_person_approves_it_where_the_organisation_wants_that(
    tenant: Tenant, alice: Member, carol: Member, active: KeyRegistration, browser_of: Callable[..., Client]
) -> None:
    dora = invited(tenant, "dora@acme.example", Role.OWNER)
    ago = clock.now() - timedelta(days=30)
    Member.objects.filter(pk__in=[alice.pk, dora.pk]).update(created_at=ago, role_since=ago)
    services.require_second_person(tenant, actor=acting(alice))
    assert "second person" in refused(browser_of(alice).post(page(alice, carol), FORM))
    approval = Approval.objects.get()
    assert approval.sentence == f"Forget {CAROL}, who was a member"
    assert PersonName.objects.filter(tenant=tenant, text=CAROL, erased_at=None).exists()
    follow.follow()
    services.approve(approval, actor=acting(dora))
    follow.follow()
    assert everywhere(CAROL) == [], "what was asked for does not name them any more either"
    assert lines_by("member:alice@acme.example", "tenants.person.erased")
    approval.refresh_from_db()
    assert approval.status == "done"


def test_a_restored_database_forgets_again_what_an_owner_forgot_and_in_the_same_rows(
    tenant: Tenant, alice: Member, carol: Member, mallory: Member, exported: Callable[[], Any]
) -> None:
    other = services.invite(mallory.tenant, email=CAROL, role=Role.AUDITOR, actor=acting(mallory))
    theirs = services.accept_invitation(services.new_link(other), user=carol.user)
    with Backup():
        services.forget_member(carol, reason="asked for", actor=acting(alice))
        file = exported()
    assert PersonName.objects.filter(tenant=tenant, text=CAROL).exists(), "the backup knows her"
    done = check(file)
    assert len(done["erased"]) == 1 and done["left"] == []
    assert not PersonName.objects.filter(tenant=tenant, text=CAROL).exists()
    assert Member.everybody.get(pk=carol.pk).user_id != theirs.user_id
    assert PersonName.objects.filter(tenant=mallory.tenant, text=CAROL).exists()
    assert User.objects.get(pk=theirs.user_id).email == CAROL


def test_what_an_owner_forgot_is_forgotten_in_no_other_organisation_after_a_restore(
    tenant: Tenant, alice: Member, carol: Member, mallory: Member
) -> None:
    """The line is there, proved by a head, and the name came back: an owner's word is still of these rows alone."""
    join(services.invite(mallory.tenant, email="eve@evil.example", role=Role.AUDITOR, actor=acting(mallory)))
    services.withdraw_invitation(
        services.invite(mallory.tenant, email=CAROL, role=Role.AUDITOR, actor=acting(mallory)),
        reason="r",
        actor=acting(mallory),
    )
    name = PersonName.objects.get(tenant=tenant, text=CAROL)
    kept = (name.text, name.salt)
    services.forget_member(carol, reason="asked for", actor=acting(alice))
    PersonName.objects.filter(pk=name.pk).update(text=kept[0], salt=kept[1], erased_at=None)
    done = check()
    assert done["erased"] == [name.pk]
    assert PersonName.objects.filter(tenant=mallory.tenant, text=CAROL).exists()
