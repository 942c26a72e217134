"""The ASGI application that uvicorn serves: data keys on its event loop (`keys.api.at_once`), everything else by WSGI in threads.

Django's own ASGI handler is not used: our views are synchronous, and it takes a thread and seven times the time for each of them.
"""

from __future__ import annotations

import os
import sys

from a2wsgi import WSGIMiddleware
from django.conf import settings

from byokportal.wsgi import application as in_a_thread  # first: it sets Django up
from keys.api.at_once import AtOnce

os.environ.pop("DJANGO_ALLOW_ASYNC_UNSAFE", None)  # it would let requests wait on the event loop instead of in a thread

# How long a busy thread keeps the interpreter while the loop wants it: the default, 5 ms, is longer than a request for a key takes.
sys.setswitchinterval(0.0005)

in_threads = WSGIMiddleware(in_a_thread, workers=settings.WEB_THREADS)  # type: ignore[arg-type]  # Django returns HttpResponseBase, which is iterable
application = AtOnce(in_threads)  # type: ignore[arg-type]  # its messages are typed dictionaries, ours are dictionaries
