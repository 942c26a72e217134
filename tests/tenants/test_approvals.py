"""A second person: what waits for one, who that may be, and that nothing is done without it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from conftest import acting, acting_staff, invited
from django.contrib.auth.models import User
from django.core import mail
from django.db import IntegrityError, transaction
from django.test import Client

from byokportal import clock
from byokportal.errors import DomainError, NotAllowed, NotFound
from keys import services as key_services
from keys.arns import KeyArn
from keys.models import KeyRegistration
from support import follow, notices
from tenants import approvals, audit, errors, services
from tenants.audit import Actor
from tenants.models import Approval, AuditEvent, Member, Role, Tenant

Status = Approval.Status
AGO = timedelta(days=30)


def aged(*members: Member) -> None:
    """Let the members have joined, in their roles, a month ago."""
    at = clock.now() - AGO
    Member.objects.filter(pk__in=[one.pk for one in members]).update(created_at=at, role_since=at)
    for one in members:
        one.refresh_from_db()
        if hasattr(one, "invitation"):
            type(one.invitation).objects.filter(pk=one.invitation.pk).update(created_at=at)


@pytest.fixture
def carol(tenant: Tenant, alice: Member) -> Member:
    return invited(tenant, "carol@acme.example", Role.OWNER)


@pytest.fixture
def dora(tenant: Tenant, alice: Member) -> Member:
    return invited(tenant, "dora@acme.example", Role.ADMIN)


@pytest.fixture
def two(tenant: Tenant, alice: Member, carol: Member, dora: Member, active: KeyRegistration) -> Tenant:
    """Acme Bank with a key in service, two owners and an admin, where a second person is needed."""
    aged(alice, carol, dora)
    services.require_second_person(tenant, actor=acting(alice))
    tenant.refresh_from_db()
    return tenant


def asked(do: Callable[[], Any]) -> Approval:
    """Do what waits for a second person, and return what an entry point then writes down."""
    with pytest.raises(errors.SecondPersonNeeded) as told, transaction.atomic():
        do()
    found = services.ask_second_person(told.value)
    assert found is not None
    assert told.value.params == {"approval": str(found.pk)}
    return found


# --- what waits, and what is done once it is approved ---------------------------------------------------------------


def _resumed(tenant: Tenant, alice: Member, carol: Member) -> tuple[Callable[[Actor], Any], Callable[[], bool]]:
    key_services.suspend(tenant, reason="x", actor=acting(alice))
    return (
        lambda actor: key_services.resume(tenant, reason="over", actor=actor),
        lambda: key_services.key_state(tenant).status == "unreachable",
    )


def _left(tenant: Tenant, alice: Member, carol: Member) -> tuple[Callable[[Actor], Any], Callable[[], bool]]:
    return (
        lambda actor: key_services.leave(tenant, reason="we go", actor=actor),
        lambda: KeyRegistration.objects.get(tenant=tenant).status == "retiring",
    )


def _slower(tenant: Tenant, alice: Member, carol: Member) -> tuple[Callable[[Actor], Any], Callable[[], bool]]:
    return (
        lambda actor: key_services.set_latency(tenant, seconds=900, actor=actor),
        lambda: Tenant.objects.get(pk=tenant.pk).revocation_latency == 900,
    )


def _replaced(tenant: Tenant, alice: Member, carol: Member) -> tuple[Callable[[Actor], Any], Callable[[], bool]]:
    serving = KeyRegistration.objects.get(tenant=tenant)
    key_services.save_draft(tenant, actor=acting(alice))
    return (
        lambda actor: key_services.submit_registration(tenant, actor=actor),
        lambda: KeyRegistration.objects.filter(tenant=tenant, replaces=serving).exclude(status="draft").exists(),
    )


def _promoted(tenant: Tenant, alice: Member, carol: Member) -> tuple[Callable[[Actor], Any], Callable[[], bool]]:
    dora = tenant.members.get(user__email="dora@acme.example")
    return (
        lambda actor: services.change_role(dora, role=Role.OWNER, actor=actor),
        lambda: Member.objects.get(pk=dora.pk).role == Role.OWNER,
    )


def _demoted(tenant: Tenant, alice: Member, carol: Member) -> tuple[Callable[[Actor], Any], Callable[[], bool]]:
    return (
        lambda actor: services.change_role(carol, role=Role.ADMIN, actor=actor),
        lambda: Member.objects.get(pk=carol.pk).role == Role.ADMIN,
    )


def _removed(tenant: Tenant, alice: Member, carol: Member) -> tuple[Callable[[Actor], Any], Callable[[], bool]]:
    return (
        lambda actor: services.remove_member(carol, reason="left", actor=actor),
        lambda: not Member.objects.filter(pk=carol.pk).exists(),
    )


def _invited(tenant: Tenant, alice: Member, carol: Member) -> tuple[Callable[[Actor], Any], Callable[[], bool]]:
    return (
        lambda actor: services.invite(tenant, email="Eve@acme.example", role=Role.OWNER, actor=actor),
        lambda: tenant.invitations.filter(email="eve@acme.example", role=Role.OWNER).exists(),
    )


def _dropped(tenant: Tenant, alice: Member, carol: Member) -> tuple[Callable[[Actor], Any], Callable[[], bool]]:
    return (
        lambda actor: services.drop_second_person(tenant, reason="too slow", actor=actor),
        lambda: Tenant.objects.get(pk=tenant.pk).second_person_since is None,
    )


HELD = {
    "keys.resume": _resumed,
    "keys.leave": _left,
    "keys.set_latency": _slower,
    "keys.replace": _replaced,
    "tenants.change_role": _promoted,
    "tenants.change_role, from owner": _demoted,
    "tenants.remove_member": _removed,
    "tenants.invite": _invited,
    "tenants.require_second_person": _dropped,
}
# Tried in tests of their own.
ELSEWHERE = {
    "tenants.forget_member",
    "tenants.mint_token",
    "keys.end_horizon",
    "tenants.change_sign_on",
    "tenants.make_directory_token",
    "tenants.change_log_streams",
}


def test_every_operation_that_waits_is_tried() -> None:
    assert set(approvals.HELD) == {name.split(",")[0] for name in HELD} | ELSEWHERE


@pytest.mark.parametrize("name", HELD)
def test_it_is_done_when_it_is_approved_and_not_before(
    name: str, two: Tenant, alice: Member, carol: Member, dora: Member, settings: Any
) -> None:
    settings.PLATFORM_KEY_ARN = "arn:aws:kms:eu-central-1:999900001111:key/11111111-2222-3333-4444-555555555555"
    do, is_done = HELD[name](two, alice, carol)
    approval = asked(lambda: do(acting(alice)))
    assert (approval.status, is_done()) == (Status.WAITING, False)
    # Who asks again asks for the same.
    assert asked(lambda: do(acting(alice))) == approval
    with pytest.raises(errors.NotSecondPerson):
        services.approve(approval, actor=acting(alice))
    assert not is_done()
    decides = dora if name not in {"tenants.change_role"} else carol
    assert services.approve(approval, actor=acting(decides)).status == Status.DONE
    assert is_done()
    with pytest.raises(errors.ApprovalOver):
        services.approve(approval, actor=acting(decides))
    events = AuditEvent.objects.filter(name__startswith="tenants.approval").order_by("id")
    assert [(event.name, audit.actor_of(event)) for event in events] == [
        ("tenants.approval.requested", "member:alice@acme.example"),
        ("tenants.approval.approved", f"member:{decides.user.email}"),
    ]


@pytest.mark.parametrize("name", [name for name in HELD if name != "tenants.require_second_person"])
def test_one_person_is_enough_where_nobody_wants_two(
    name: str, tenant: Tenant, alice: Member, carol: Member, dora: Member, active: KeyRegistration, settings: Any
) -> None:
    settings.PLATFORM_KEY_ARN = "arn:aws:kms:eu-central-1:999900001111:key/11111111-2222-3333-4444-555555555555"
    do, is_done = HELD[name](tenant, alice, carol)
    do(acting(alice))
    assert is_done()


def test_suspend_and_a_shorter_latency_wait_for_nobody(two: Tenant, alice: Member) -> None:
    key_services.set_latency(two, seconds=0, actor=acting(alice))
    assert key_services.suspend(two, reason="now", actor=acting(alice)).status == "suspended"
    key_services.drop_caches(two, reason="now", actor=acting(alice))
    assert not Approval.objects.exists()


def test_staff_have_four_eyes_of_their_own(two: Tenant, sam: User) -> None:
    key_services.suspend(two, reason="x", actor=acting_staff(sam))
    assert key_services.resume(two, reason="x", actor=acting_staff(sam)).status == "unreachable"


def test_a_change_of_the_sign_on_is_made_by_who_asked_for_it_once(two: Tenant, alice: Member, carol: Member) -> None:
    facts: dict[str, Any] = {
        "issuer": "https://login.acme.example",
        "client_id": "byok",
        "client_secret": "s3cret",
        "provider": {"token_endpoint": "https://login.acme.example/token"},
        "role_claim": "groups",
        "role_values": {"a": "admin"},
        "default_role": "",
        "may_make_owners": False,
        "factor_values": ["mfa"],
    }
    approval = asked(lambda: services.set_connection(two, **facts, actor=acting(alice)))
    assert "https://login.acme.example" in approval.sentence
    assert "s3cret" not in approval.arguments
    assert services.approve(approval, actor=acting(carol)).status == Status.APPROVED
    for other in (
        {"issuer": "https://login.evil.example"},
        {"client_secret": "another"},
        {"provider": {"token_endpoint": "https://login.evil.example/token"}},
        {"role_values": {"a": "owner"}},
        {"may_make_owners": True},
        {"factor_values": ["pwd"]},
    ):
        asked(lambda other=other: services.set_connection(two, **{**facts, **other}, actor=acting(alice)))
    connection = services.set_connection(two, **facts, actor=acting(alice))
    asked(lambda: services.set_connection(two, **facts, actor=acting(alice)))
    asked(lambda: services.remove_connection(connection, reason="r", actor=acting(alice)))
    asked(lambda: services.set_sign_on_mode(connection, mode="draft", actor=acting(alice)))
    asked(lambda: services.add_domain(two, name="acme.example", actor=acting(alice)))


def test_a_token_is_made_by_who_asked_for_it_once(two: Tenant, alice: Member, carol: Member) -> None:
    wanted = {"name": "deploy", "permissions": ["read", "operate"], "days": 30}
    approval = asked(lambda: services.mint_token(alice, **wanted, actor=acting(alice)))
    assert services.approve(approval, actor=acting(carol)).status == Status.APPROVED
    for other in ({"days": 31}, {"permissions": ["read", "operate", "setup"]}, {"may_change_serving_key": True}):
        asked(lambda other=other: services.mint_token(alice, **{**wanted, **other}, actor=acting(alice)))
    with pytest.raises(errors.SecondPersonNeeded):
        services.mint_token(carol, **wanted, actor=acting(carol))
    services.mint_token(alice, **wanted, actor=acting(alice))
    approval.refresh_from_db()
    assert approval.status == Status.DONE
    with pytest.raises(errors.SecondPersonNeeded):
        services.mint_token(alice, **wanted, actor=acting(alice))
    # What only reads needs nobody.
    services.mint_token(alice, name="read", permissions=["read"], actor=acting(alice))


# --- who the second person may be -----------------------------------------------------------------------------------


def test_who_may_not_decide(
    two: Tenant, alice: Member, carol: Member, dora: Member, bob: Member, mallory: Member, sam: User
) -> None:
    aged(bob)
    approval = asked(lambda: key_services.set_latency(two, seconds=900, actor=acting(alice)))
    late = invited_by(carol, "late@acme.example", Role.ADMIN)
    refused: dict[str, tuple[Actor, type[DomainError]]] = {
        "who asked": (acting(alice), errors.NotSecondPerson),
        "an auditor": (acting(bob), NotAllowed),
        "another organisation's owner": (acting(mallory), NotFound),
        "staff": (acting_staff(sam), NotAllowed),
        "who joined a moment ago": (acting(late), errors.NotSecondPerson),
        "an old sign-in": (Actor.of_member(carol, via="portal"), errors.FreshSignInNeeded),
    }
    token, _ = services.mint_token(
        carol, name="t", permissions=["read", "operate", "people"], days=30, actor=audit.COMMAND
    )
    refused["an automation token"] = (Actor.of_member(carol, via="api", token=token), NotAllowed)
    for who, (actor, error) in refused.items():
        with pytest.raises(error):
            services.approve(approval, actor=actor)
        with pytest.raises(error):
            services.refuse(approval, reason="no", actor=actor)
        approval.refresh_from_db()
        assert approval.status == Status.WAITING, who
    assert Tenant.objects.get(pk=two.pk).revocation_latency == 300


def invited_by(member: Member, email: str, role: str) -> Member:
    invitation = services.invite(member.tenant, email=email, role=role, actor=acting(member))
    return services.accept_invitation(services.new_link(invitation), password="a-password-of-tests-1")


def test_who_became_admin_after_it_was_asked_for_does_not_decide(
    two: Tenant, alice: Member, carol: Member, bob: Member
) -> None:
    aged(bob)
    approval = asked(lambda: key_services.set_latency(two, seconds=900, actor=acting(alice)))
    services.change_role(bob, role=Role.ADMIN, actor=acting(carol))
    with pytest.raises(errors.NotSecondPerson):
        services.approve(approval, actor=acting(bob))


@pytest.mark.parametrize("how", ["invited", "promoted"])
def test_nobody_approves_by_a_second_account_that_they_let_in(
    how: str, two: Tenant, alice: Member, bob: Member
) -> None:
    aged(bob)
    if how == "invited":
        puppet = invited_by(alice, "puppet@acme.example", Role.ADMIN)
        at = clock.now() - timedelta(hours=73)
        Tenant.objects.filter(pk=two.pk).update(second_person_since=at - timedelta(hours=1))
        Member.objects.filter(pk=puppet.pk).update(created_at=at, role_since=at)
        type(puppet.invitation).objects.filter(pk=puppet.invitation.pk).update(created_at=at)
    else:
        services.change_role(bob, role=Role.ADMIN, actor=acting(alice))
        puppet = bob
    approval = asked(lambda: key_services.set_latency(two, seconds=900, actor=acting(alice)))
    with pytest.raises(errors.NotSecondPerson):
        services.approve(approval, actor=acting(puppet))
    # What somebody else asks for they do decide.
    carol = two.members.get(user__email="carol@acme.example")
    other = asked(lambda: key_services.set_latency(two, seconds=800, actor=acting(carol)))
    assert services.approve(other, actor=acting(puppet)).status == Status.DONE


def test_where_nobody_else_is_left_who_was_let_in_decides_after_72_hours(
    two: Tenant, alice: Member, carol: Member, dora: Member
) -> None:
    """Else an organisation whose other people were switched off could never resume its key."""
    puppet = invited_by(alice, "new@acme.example", Role.ADMIN)
    User.objects.filter(pk__in=[carol.user_id, dora.user_id]).update(is_active=False)
    approval = asked(lambda: key_services.set_latency(two, seconds=900, actor=acting(alice)))
    with pytest.raises(errors.NotSecondPerson):
        services.approve(approval, actor=acting(puppet))
    aged(puppet)
    Member.objects.filter(pk=puppet.pk).update(role_since=clock.now() - AGO)
    assert services.approve(approval, actor=acting(puppet)).status == Status.DONE


# --- how it ends ----------------------------------------------------------------------------------------------------


def test_it_ends_after_24_hours_refused_or_withdrawn(two: Tenant, alice: Member, carol: Member, dora: Member) -> None:
    def ask(seconds: int) -> Approval:
        return asked(lambda: key_services.set_latency(two, seconds=seconds, actor=acting(alice)))

    expired, refused, withdrawn = ask(600), ask(700), ask(800)
    Approval.objects.filter(pk=expired.pk).update(expires_at=clock.now() - timedelta(seconds=1))
    services.refuse(refused, reason="Not before the audit", actor=acting(carol))
    with pytest.raises(NotFound):
        services.withdraw_approval(withdrawn, actor=acting(dora))
    services.withdraw_approval(withdrawn, actor=acting(alice))
    for over in (expired, refused, withdrawn):
        with pytest.raises(errors.ApprovalOver):
            services.approve(over, actor=acting(carol))
    assert Tenant.objects.get(pk=two.pk).revocation_latency == 300
    assert ask(600).pk != expired.pk  # asked for again


@pytest.mark.parametrize("lost", ["membership", "role", "token"])
def test_nothing_is_done_for_somebody_who_may_no_longer_do_it(
    lost: str, two: Tenant, alice: Member, carol: Member, dora: Member
) -> None:
    token = None
    if lost == "token":
        token, _ = services.mint_token(
            carol, name="t", permissions=["read", "operate"], may_change_serving_key=True, actor=audit.COMMAND
        )
    key_services.suspend(two, reason="x", actor=acting(alice))
    actor = Actor.of_member(carol, via="api", token=token, signed_in_at=clock.now())
    approval = asked(lambda: key_services.resume(two, reason="over", actor=actor))
    if lost == "membership":
        Member.objects.filter(pk=carol.pk).update(removed_at=clock.now())
    elif lost == "role":
        Member.objects.filter(pk=carol.pk).update(role=Role.AUDITOR)
    else:
        assert token is not None
        services.revoke_token(token, actor=acting(carol))
    with pytest.raises((errors.ApprovalOver, NotAllowed)):
        services.approve(approval, actor=acting(dora))
    approval.refresh_from_db()
    assert (approval.status, key_services.key_state(two).status) == (Status.WAITING, "suspended")


def test_what_cannot_be_done_now_is_not_approved(two: Tenant, alice: Member, carol: Member) -> None:
    key_services.suspend(two, reason="x", actor=acting(alice))
    approval = asked(lambda: key_services.resume(two, reason="over", actor=acting(alice)))
    KeyRegistration.objects.filter(tenant=two).update(tenant_suspended_at=None)
    with pytest.raises(DomainError) as told:
        services.approve(approval, actor=acting(carol))
    approval.refresh_from_db()
    assert (told.value.code, approval.status) == ("registration_busy", Status.WAITING)


def test_the_database_knows_that_one_person_is_not_two(two: Tenant, alice: Member) -> None:
    approval = asked(lambda: key_services.set_latency(two, seconds=900, actor=acting(alice)))
    with pytest.raises(IntegrityError), transaction.atomic():
        Approval.objects.filter(pk=approval.pk).update(status=Status.APPROVED, decided_by=alice)
    with pytest.raises(IntegrityError), transaction.atomic():
        Approval.objects.filter(pk=approval.pk).update(status=Status.DONE)


# --- that somebody is left who can approve --------------------------------------------------------------------------


def test_it_takes_two_to_require_two(tenant: Tenant, alice: Member, bob: Member) -> None:
    aged(alice, bob)
    with pytest.raises(errors.TooFewApprovers):
        services.require_second_person(tenant, actor=acting(alice))
    carol = invited(tenant, "carol@acme.example", Role.ADMIN)
    with pytest.raises(errors.TooFewApprovers):  # a moment ago
        services.require_second_person(tenant, actor=acting(alice))
    aged(carol)
    with pytest.raises(NotAllowed):
        services.require_second_person(tenant, actor=acting(carol))
    services.require_second_person(tenant, actor=acting(alice))


def test_the_last_two_stay(two: Tenant, alice: Member, carol: Member, dora: Member) -> None:
    services.remove_member(dora, reason="left", actor=acting(alice))
    for out in (
        lambda: services.leave_organisation(carol, actor=acting(carol)),
        lambda: services.remove_member(carol, reason="x", actor=acting(alice)),
        lambda: services.change_role(carol, role=Role.AUDITOR, actor=acting(alice)),
    ):
        with pytest.raises((errors.TooFewApprovers, errors.SecondPersonNeeded)) as told, transaction.atomic():
            out()
        if isinstance(told.value, errors.SecondPersonNeeded):
            approval = services.ask_second_person(told.value)
            assert approval is not None
            with pytest.raises(errors.NotSecondPerson):
                services.approve(approval, actor=acting(alice))
    assert two.members.filter(role=Role.OWNER).count() == 2


# --- on the portal and by API ---------------------------------------------------------------------------------------


def mails() -> list[tuple[str, str]]:
    while follow.follow():
        pass
    mail.outbox.clear()
    notices.send_due()
    return [(message.to[0], str(message.body)) for message in mail.outbox]


def test_on_the_portal(
    two: Tenant, alice: Member, carol: Member, dora: Member, bob: Member, browser_of: Callable[..., Client]
) -> None:
    mails()
    here, key = f"/tenants/{two.pk}/approvals/", f"/tenants/{two.pk}/key/"
    answer = browser_of(alice).post(f"{key}latency/", {"seconds": "900"})
    assert "A second person has to approve this" in answer.content.decode()
    approval = Approval.objects.get()
    told = mails()
    assert {to for to, _ in told} == {"carol@acme.example", "dora@acme.example"}
    assert all("Raise the revocation latency to 900 seconds" in body and here in body for _, body in told)
    page = browser_of(alice).get(here).content.decode()
    assert ("Approve<" in page, "Withdraw<" in page) == (False, True)
    page = browser_of(dora).get(here).content.decode()
    assert ("Approve<" in page, "Withdraw<" in page) == (True, False)
    page = browser_of(bob).get(here).content.decode()
    assert ("Approve<" in page, "Withdraw<" in page, "Only owners and admins" in page) == (False, False, True)
    old = browser_of(dora, is_fresh=False).post(f"{here}{approval.pk}/approve/")
    assert old["Location"].startswith("/accounts/reauthenticate/")
    answer = browser_of(dora).post(f"{here}{approval.pk}/approve/")
    assert answer["Location"] == here
    assert Tenant.objects.get(pk=two.pk).revocation_latency == 900
    assert {to for to, _ in mails()} == {"alice@acme.example", "carol@acme.example", "dora@acme.example"}
    page = browser_of(dora).get(here).content.decode()
    assert "Approved and done by dora@acme.example" in page


def test_a_page_without_a_form_asks_too(
    two: Tenant, alice: Member, carol: Member, dora: Member, browser_of: Callable[..., Client]
) -> None:
    people = f"/tenants/{two.pk}/people/"
    browser_of(alice).post(f"{people}{dora.pk}/role/", {"role": "owner"})
    approval = Approval.objects.get()
    assert approval.sentence == "Make dora@acme.example owner"
    answer = browser_of(carol).post(f"/tenants/{two.pk}/approvals/{approval.pk}/refuse/", {"reason": ""})
    assert answer.status_code == 200
    browser_of(carol).post(f"/tenants/{two.pk}/approvals/{approval.pk}/refuse/", {"reason": "Not yet"})
    approval.refresh_from_db()
    assert (approval.status, approval.decision_reason) == (Status.REFUSED, "Not yet")


def test_by_api(
    two: Tenant, alice: Member, carol: Member, api_of: Callable[..., Client], browser_of: Callable[..., Client]
) -> None:
    api, base = api_of(alice), f"/api/v1/tenants/{two.pk}"
    key_services.suspend(two, reason="x", actor=acting(alice))
    ask = {"data": {"reason": "over"}, "content_type": "application/json", "HTTP_IDEMPOTENCY_KEY": "k-1"}
    told = [api.post(f"{base}/key/resume", **ask) for _ in range(2)]
    assert {one.status_code for one in told} == {409}
    (number,) = {one.json()["params"]["approval"] for one in told}
    assert told[0].json()["code"] == "second_person_needed"
    found = api.get(f"{base}/approvals/{number}").json()
    assert (found["status"], found["sentence"], found["reason"]) == ("waiting", "Resume the key", "over")
    assert [one["id"] for one in api.get(f"{base}/approvals").json()["items"]] == [number]
    browser_of(carol).post(f"/tenants/{two.pk}/approvals/{number}/approve/")
    assert api.get(f"{base}/approvals/{number}").json()["status"] == "done"
    assert api.get(f"{base}/key").json()["status"] == "unreachable"
    answer = api.delete(f"{base}/members/{carol.pk}", content_type="application/json")
    number = answer.json()["params"]["approval"]
    assert api_of(carol).delete(f"{base}/approvals/{number}").status_code == 404
    assert api.delete(f"{base}/approvals/{number}").status_code == 204
    assert api.delete(f"{base}/approvals/{number}").json()["code"] == "approval_over"


def test_another_organisations_approval_is_not_there(
    two: Tenant, alice: Member, mallory: Member, api_of: Callable[..., Client]
) -> None:
    approval = asked(lambda: key_services.set_latency(two, seconds=900, actor=acting(alice)))
    path = f"/api/v1/tenants/{mallory.tenant_id}/approvals/{approval.pk}"
    assert [api_of(mallory).get(path).status_code, api_of(mallory).delete(path).status_code] == [404, 404]


# --- what a hostile member tries ------------------------------------------------------------------------------------


def test_who_approves_does_not_put_something_else_in_its_place(
    two: Tenant, alice: Member, dora: Member, browser_of: Callable[..., Client]
) -> None:
    """Dora changes what Alice asked for, approves, and must not find it asked for in Alice's name."""
    key_services.save_draft(two, actor=acting(alice))
    approval = asked(lambda: key_services.submit_registration(two, actor=acting(alice)))
    other = KeyArn.parse("arn:aws:kms:eu-central-1:111122223333:key/99999999-2222-3333-4444-555555555555")
    key_services.save_draft(two, key_arn=other, actor=acting(dora))
    for _ in range(2):
        browser_of(dora).post(f"/tenants/{two.pk}/approvals/{approval.pk}/approve/")
    assert [(one.pk, one.status) for one in Approval.objects.all()] == [(approval.pk, Status.WAITING)]
    assert not KeyRegistration.objects.filter(tenant=two, status="submitted").exists()
    with pytest.raises(errors.ApprovalOver):
        services.approve(approval, actor=acting(dora))


def test_an_approval_to_resume_ends_with_the_suspension_that_it_is_for(
    two: Tenant, alice: Member, carol: Member, dora: Member
) -> None:
    key_services.suspend(two, reason="a drill", actor=acting(alice))
    stale = asked(lambda: key_services.resume(two, reason="over", actor=acting(alice)))
    other = asked(lambda: key_services.resume(two, reason="over", actor=acting(carol)))
    services.approve(other, actor=acting(dora))
    key_services.suspend(two, reason="an incident", actor=acting(dora))
    with pytest.raises(errors.ApprovalOver):
        services.approve(stale, actor=acting(carol))
    assert key_services.key_state(two).status == "suspended"


def test_open_invitations_of_owners_end_when_a_second_person_is_needed(
    tenant: Tenant, alice: Member, carol: Member
) -> None:
    kept = services.invite(tenant, email="a@acme.example", role=Role.ADMIN, actor=acting(alice))
    gone = services.invite(tenant, email="o@acme.example", role=Role.OWNER, actor=acting(alice))
    aged(alice, carol)
    services.require_second_person(tenant, actor=acting(alice))
    for one in (kept, gone):
        one.refresh_from_db()
    assert (kept.status, gone.status) == ("pending", "withdrawn")
    with pytest.raises(errors.InvitationOver):
        services.resend_invitation(gone, actor=acting(alice))


def test_when_somebody_came_in_counts_and_not_when_the_mail_was_written(
    tenant: Tenant, alice: Member, carol: Member, active: KeyRegistration
) -> None:
    early = services.invite(tenant, email="puppet@acme.example", role=Role.ADMIN, actor=acting(alice))
    aged(alice, carol)
    services.require_second_person(tenant, actor=acting(alice))
    puppet = services.accept_invitation(services.new_link(early), password="a-password-of-tests-1")
    at = clock.now() - timedelta(hours=73)
    Tenant.objects.filter(pk=tenant.pk).update(second_person_since=at - timedelta(hours=1))
    Member.objects.filter(pk=puppet.pk).update(created_at=at, role_since=at)
    type(early).objects.filter(pk=early.pk).update(created_at=at - timedelta(days=2))
    approval = asked(lambda: key_services.set_latency(tenant, seconds=900, actor=acting(alice)))
    with pytest.raises(errors.NotSecondPerson):
        services.approve(approval, actor=acting(puppet))


@pytest.mark.parametrize("how", ["remove", "demote"])
def test_nobody_takes_away_the_last_who_could_approve_against_their_will(
    how: str, tenant: Tenant, alice: Member, dora: Member
) -> None:
    aged(alice, dora)
    services.require_second_person(tenant, actor=acting(alice))
    puppet = invited_by(alice, "puppet@acme.example", Role.ADMIN)
    at = clock.now() - timedelta(hours=73)
    Tenant.objects.filter(pk=tenant.pk).update(second_person_since=at - timedelta(hours=1))
    Member.objects.filter(pk=puppet.pk).update(created_at=at, role_since=at)
    with pytest.raises(errors.TooFewApprovers), transaction.atomic():
        if how == "remove":
            services.remove_member(dora, reason="x", actor=acting(alice))
        else:
            services.change_role(dora, role=Role.AUDITOR, actor=acting(alice))
    # The puppet goes, and whoever wants to leave does.
    services.remove_member(puppet, reason="x", actor=acting(alice))


def test_one_member_keeps_no_other_from_asking(two: Tenant, alice: Member, carol: Member) -> None:
    for number in range(10):
        asked(lambda number=number: key_services.set_latency(two, seconds=500 + number, actor=acting(alice)))
    with pytest.raises(errors.SecondPersonNeeded) as told, transaction.atomic():
        key_services.set_latency(two, seconds=900, actor=acting(alice))
    assert services.ask_second_person(told.value) is None
    assert "nobody was asked" in str(told.value)
    asked(lambda: key_services.set_latency(two, seconds=900, actor=acting(carol)))


def test_who_approves_reads_all_that_a_token_may(two: Tenant, alice: Member) -> None:
    wanted = {"name": "ci", "permissions": ["operate"], "may_change_serving_key": True}
    approval = asked(lambda: services.mint_token(alice, **wanted, actor=acting(alice)))
    assert approval.sentence == (
        "Make the automation token ci that may operate, and replace, resume and leave a key in service, for 90 days"
    )
