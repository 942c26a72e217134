"""The settings of the suite: the real ones, with what a test must not wait for or leave behind changed."""

import os
import tempfile

os.environ.setdefault("SECRET_KEY", "tests-only-secret-key-that-signs-nothing-of-value-0123456789")
os.environ.setdefault("EMBEDDED", "1")
os.environ["VAR_DIR"] = tempfile.mkdtemp(prefix="byok-tests-")
os.environ.setdefault("EXTERNAL_ID_PROBE_GAP", "0")
os.environ.setdefault("PROPAGATION_WINDOW", "0")
os.environ.setdefault("GOOD_ANSWERS_APART", "0")
# a key that was replaced is retired at once; tests of the horizon set it
os.environ.setdefault("BACKUP_RETENTION_DAYS", "0")
os.environ.setdefault("DENIED_PROBE_SECONDS", "0,0,0")
_on_redis = "REDIS_URL" in os.environ  # the second leg of `make ci`

from byokportal import catalogs  # noqa: E402
from byokportal.settings import *  # noqa: E402, F403

catalogs.compile_all()  # those that a translator has just written

CLOCK = "machine"  # time_machine moves it
SNAPSHOT_SECONDS, DATA_KEY_THREADS = 0, False  # a test sees at once what it changed, and starts no thread
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
if not _on_redis:
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    CELERY_BROKER_URL = "memory://"  # the row is the job: `work()` in conftest does what is due
if "sqlite3" in DATABASES["default"]["ENGINE"]:  # noqa: F405
    # a file: live-server threads share it
    DATABASES["default"]["TEST"] = {"NAME": str(VAR_DIR / "test.sqlite3")}  # noqa: F405
ALLOWED_HOSTS = ["*"]
WHITENOISE_AUTOREFRESH = True  # each test client would look at every static file when it is made
LOGGING["root"]["level"] = "WARNING"  # noqa: F405
