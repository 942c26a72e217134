"""A Django project with nothing in it and a Celery app without tasks: what `bench_idle` compares an idle system with.

`BROKER` names the broker.
"""

from __future__ import annotations

import os

import django
from celery import Celery
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path


def empty(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


urlpatterns = [path("", empty)]
settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="nobody's", USE_TZ=True)
django.setup()
application = get_asgi_application()
app = Celery("bare", broker=os.environ["BROKER"])
