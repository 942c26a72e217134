"""The WSGI application: all of Django. `byokportal.asgi` serves it in threads."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "byokportal.settings")

application = get_wsgi_application()
