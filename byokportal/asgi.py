"""The ASGI application that uvicorn serves: data keys on its event loop, everything else by WSGI in threads.

Django's own ASGI handler is not used: our views are synchronous, and it takes a thread and seven times the time for
each of them.
"""

from __future__ import annotations

import gc
import os
import sys
from concurrent.futures import ThreadPoolExecutor

from a2wsgi import WSGIMiddleware
from django.conf import settings

from byokportal.wsgi import application as wsgi  # isort: skip  # first: it sets Django up
from byokportal import telemetry
from byokportal.dispatch import Dispatcher
from keys.datakeys import ledger
from keys.datakeys.http.event_loop import DataKeys

# How long a busy thread keeps the interpreter while the loop wants it: the default, 5 ms,
# is longer than a request for a key takes.
sys.setswitchinterval(0.0005)
# It would let requests wait on the event loop instead of in a thread.
os.environ.pop("DJANGO_ALLOW_ASYNC_UNSAFE", None)

application = Dispatcher(
    data_keys=DataKeys(ThreadPoolExecutor(settings.WEB_THREADS, thread_name_prefix="data-keys")),
    others=WSGIMiddleware(wsgi, workers=max(4, settings.WEB_THREADS // 2)),  # type: ignore[arg-type]
)

telemetry.start("web")
# A web process that could commit no row must not start.
ledger.require_settings()
# What is loaded now lives as long as the process: the garbage collector need not walk through it again and again.
gc.collect()
gc.freeze()
