"""/.well-known/byok-log: the newest signed head of all logs, for everybody and for caches."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from tenants import log_proofs

SECONDS = 60  # for which a cache may keep it; a new one comes every hour


@require_safe
def newest(request: HttpRequest) -> JsonResponse:
    """Answer with the newest head; 404 while none has been signed. It names no organisation."""
    head = log_proofs.newest()
    if head is None:
        return JsonResponse({"head": None}, status=404)
    return JsonResponse(log_proofs.signed(head), headers={"Cache-Control": f"public, max-age={SECONDS}"})
