"""The ASGI application that uvicorn serves: data keys on its event loop (`keys.datakeys.http.event_loop`),
everything else by WSGI in threads.

Django's own ASGI handler is not used: our views are synchronous, and it takes a thread and seven times the time
for each of them.
"""

from __future__ import annotations

import os
import sys

from a2wsgi import WSGIMiddleware
from django.conf import settings

from byokportal.wsgi import application as wsgi  # first: it sets Django up
from keys.datakeys.http.event_loop import Application, AtOnce

os.environ.pop("DJANGO_ALLOW_ASYNC_UNSAFE", None)  # it would let requests wait on the event loop instead of in a thread

# How long a busy thread keeps the interpreter while the loop wants it:
# the default, 5 ms, is longer than a request for a key takes.
sys.setswitchinterval(0.0005)


def _in_threads(number: int) -> Application:
    # its types are stricter than what passes here
    return WSGIMiddleware(wsgi, workers=number)  # type: ignore[arg-type, return-value]


application = AtOnce(data_keys=_in_threads(settings.WEB_THREADS), others=_in_threads(max(4, settings.WEB_THREADS // 2)))
