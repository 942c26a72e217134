"""Operations around the moment at which a tested registration goes into service: choose it, and press the button."""

from __future__ import annotations

from datetime import datetime, timedelta

from byokportal import clock, words
from byokportal.errors import InvalidInput
from byokportal.translation import lazy
from byokportal.translation import translate as _
from keys import activation as engine
from keys import errors, tasks
from keys.models import KeyRegistration
from keys.services import registration as registrations
from tenants import audit, roles, transactions
from tenants.audit import Actor
from tenants.models import Tenant

Activation = KeyRegistration.Activation
FURTHEST = timedelta(days=90)


@transactions.atomic
def choose_activation(
    tenant: Tenant, *, activation: str, activate_at: datetime | None = None, actor: Actor
) -> KeyRegistration:
    """Choose when the registration in preparation goes into service.

    Args:
        activation: `when_tested` (when its test passes), `at_time` or `by_button`.
        activate_at: of `at_time`: the instant, at most 90 days away.

    Raises:
        NoRegistration: nothing is in preparation.
        InvalidInput: there is no such way, or the instant is missing, over or too far away.
        TokenNotMarked, FreshSignInNeeded: a key serves, so this is about its replacement.
    """
    roles.require(actor, "keys.choose_activation", tenant)
    found = _in_preparation(tenant, actor)
    if activation not in Activation.values:
        raise InvalidInput(errors={"activation": [_("Choose %(names)s.", names=", ".join(Activation.values))]})
    now = clock.now()
    if activation != Activation.AT_TIME:
        # One that is tested and is to serve at once is due now.
        activate_at = now if activation == Activation.WHEN_TESTED and found.waits_for_activation else None
    elif activate_at is None or not now < activate_at <= now + FURTHEST:
        raise InvalidInput(
            errors={"activate_at": [_("Choose a time within the next %(days)s days.", days=FURTHEST.days)]}
        )
    facts = {
        "activation": activation,
        "activate_at": activate_at,
        "activation_due_at": activate_at,
        "activation_missed": "",
    }
    KeyRegistration.objects.filter(pk=found.pk).update(**facts)
    found.refresh_from_db()
    when = (
        words.label(activate_at.isoformat()) if activation == Activation.AT_TIME and activate_at else _when(activation)
    )
    audit.record("keys.activation.chosen", tenant=tenant, actor=actor, target=found, when=when)
    engine.show(found)
    return _attended(found)


def _when(way: str) -> str:
    return {
        Activation.WHEN_TESTED: lazy("as soon as its test passes"),
        Activation.BY_BUTTON: lazy("when a person of the organisation activates it"),
    }[Activation(way)]


@transactions.atomic
def activate(tenant: Tenant, *, actor: Actor) -> KeyRegistration:
    """Put the tested registration in service now; a test that is older than an hour is run again first.

    Raises:
        NoRegistration: nothing is in preparation.
        RegistrationBusy: its test has not passed.
        KeySuspended: the key that it would replace is suspended by a person: that one is resumed first.
        TokenNotMarked, FreshSignInNeeded: a key serves, so this replaces it.
    """
    roles.require(actor, "keys.activate", tenant)
    found = _in_preparation(tenant, actor)
    if not found.waits_for_activation:
        raise errors.RegistrationBusy(status=found.status_in_english, wanted="activated")
    serving = KeyRegistration.objects.of(tenant).serving().first()
    if serving is not None and serving.is_stopped_by_a_person:
        raise errors.KeySuspended(suspended_by=serving.get_suspended_by_display())
    now = clock.now()
    KeyRegistration.objects.filter(pk=found.pk).update(
        activation=Activation.BY_BUTTON, activate_at=now, activation_due_at=now, activation_missed=""
    )
    audit.record("keys.activation.pressed", tenant=tenant, actor=actor, target=found, key_arn=found.key_arn)
    return _attended(found)


def _in_preparation(tenant: Tenant, actor: Actor) -> KeyRegistration:
    registrations.require_replace_beside_a_serving_key(tenant, actor)
    rows = KeyRegistration.objects.of(tenant).in_preparation().select_related("tenant__service_role")
    found = rows.select_for_update(no_key=True, of=("self",)).first()
    if found is None:
        raise errors.NoRegistration
    return found


def _attended(found: KeyRegistration) -> KeyRegistration:
    """Do at once what is due, and return what has become of it."""
    test_id = engine.attend(found)
    if test_id is not None:
        tasks.enqueue(tasks.run_test, test_id=str(test_id))
    found.refresh_from_db()
    return found
