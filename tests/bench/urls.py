"""The addresses of the system, and an empty view that goes the same way through the same middlewares."""

from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt

from byokportal.urls import handler404, handler500  # noqa: F401
from byokportal.urls import urlpatterns as ours


@csrf_exempt
def empty(request: HttpRequest, tenant: str) -> HttpResponse:
    return HttpResponse(b"{}", content_type="application/json")


# First and nested like the real ones, so that it is found as quickly.
urlpatterns = [path("api/v1/", include([path("tenants/<str:tenant>/data-keys/empty", empty)])), *ours]
