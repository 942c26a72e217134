# One image for web, workers and beat. Digests pin what the names meant when this was written; `docker buildx imagetools inspect NAME` says what they mean now.
FROM python:3.13-slim@sha256:6771159cd4fa5d9bba1258caf0b82e6b73458c694d178ad97c5e925c2d0e1a91 AS build
ENV PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /venv
COPY requirements.txt /
# Wheels alone: nothing is compiled, so no image of ours has a compiler.
RUN /venv/bin/pip install --no-cache-dir --only-binary :all: --require-hashes -r /requirements.txt && /venv/bin/pip uninstall --yes pip
WORKDIR /srv/byok
COPY . .
# The values are for these two commands, which open no connection; requirements.txt has no local AWS, so AWS_MODE is real here too.
RUN /venv/bin/python -m byokportal.catalogs compile && \
    SECRET_KEY=build-only EMBEDDED=0 AWS_MODE=real AWS_ACCOUNT_ID=999900001111 CANARY_ACCOUNT_ID=999900002222 DATABASE_URL=postgres://unused/unused \
    VAR_DIR=/tmp STATIC_ROOT=/srv/byok/static-root /venv/bin/python manage.py collectstatic --noinput && \
    /venv/bin/python -m compileall -q -j 0 /venv /srv/byok

FROM python:3.13-slim@sha256:6771159cd4fa5d9bba1258caf0b82e6b73458c694d178ad97c5e925c2d0e1a91
RUN useradd --system --no-create-home --uid 10001 byok && install -d -m 0700 -o byok /var/lib/byok-closings && install -d -o byok /var/lib/byok /var/lib/byok/log-heads
COPY --from=build /venv /venv
# Of root: who runs as byok changes none of it, also where the root is not read-only.
COPY --from=build /srv/byok /srv/byok
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 STATIC_ROOT=/srv/byok/static-root VAR_DIR=/var/lib/byok
WORKDIR /srv/byok
USER byok
EXPOSE 8000
CMD ["python", "-m", "byokportal.server", "--host", "0.0.0.0", "--port", "8000", "--workers", "2"]
