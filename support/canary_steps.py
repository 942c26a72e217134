"""Lets our own tenants take the steps that a customer's people take: share the ARNs, test again what was rejected."""

from __future__ import annotations

import structlog

from byokportal import database
from keys import services as key_services
from keys.models import Canary
from tenants.audit import SYSTEM

log = structlog.get_logger(__name__)
AT_ONCE = 20  # canaries a run


def advance() -> int:
    """Let each canary that is on its way take its next step, where one waits for it.

    Returns:
        how many were looked at.
    """
    waiting = list(Canary.objects.filter(stage=Canary.Stage.JOINING).select_related("tenant__service_role")[:AT_ONCE])
    for canary in waiting:
        try:
            key_services.advance_canary(canary.tenant, actor=SYSTEM)
        except Exception as error:  # one must not keep the others; the canary fails by its clock
            if database.is_unusable(error):
                raise
            log.exception("canary_not_advanced", canary=str(canary))
    return len(waiting)
