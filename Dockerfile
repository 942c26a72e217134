# One image, three commands: web (default), worker, beat.
FROM python:3.13-slim
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN useradd --system --create-home --uid 10001 byok && install -d -o byok /var/lib/byok
WORKDIR /srv/byok
COPY requirements.txt .
RUN pip install --no-cache-dir --require-hashes -r requirements.txt
COPY . .
# The values are for this one command, which opens no connection; requirements.txt has no local AWS, so AWS_MODE is real here too.
RUN SECRET_KEY=build-only EMBEDDED=0 AWS_MODE=real AWS_ACCOUNT_ID=999900001111 CANARY_ACCOUNT_ID=999900002222 DATABASE_URL=postgres://unused/unused \
    VAR_DIR=/tmp STATIC_ROOT=/srv/byok/static-root python manage.py collectstatic --noinput
ENV STATIC_ROOT=/srv/byok/static-root VAR_DIR=/var/lib/byok
USER byok
EXPOSE 8000
CMD ["python", "-m", "byokportal.server", "--host", "0.0.0.0", "--port", "8000", "--workers", "2"]
