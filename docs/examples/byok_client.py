"""A client of the BYOK API in one file: copy it, read it, keep what you need.

It needs Python 3.11 and `cryptography`, nothing else. What it shows:

* a token by client credentials, renewed before it ends;
* retries decided by `retryable` and `Retry-After`, with jitter;
  an Idempotency-Key where a key is made, so that a repeat makes no second one;
* files encrypted here with AES-256-GCM in chunks: data never goes to the service, only wrapped keys do;
* a cache of opened keys that ends at `cache_until`, and is purged at once when a tenant's key says no (423) or
  `GET /api/v1/key-states` tells so. A service that keeps a key longer breaks the promise that was given to the tenant.

    BYOK_URL=https://byok.example.com BYOK_CLIENT_ID=… BYOK_CLIENT_SECRET=… BYOK_TENANT=… \\
        python byok_client.py encrypt report.pdf report.pdf.byok
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import random
import ssl
import struct
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO
from urllib.parse import urlencode, urlsplit

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

Context = dict[str, str]
FULL = 500  # changes in one answer of key-states


class Problem(Exception):
    """The service said no; `code` says why (docs/problems.md), `whose_turn` who can do something about it."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        self.status, self.body = status, body
        self.code, self.whose_turn = body.get("code", ""), body.get("whose_turn")
        super().__init__(f"{status} {self.code}: {body.get('detail', '')} (request {body.get('request_id', '?')})")


@dataclass(frozen=True)
class DataKey:
    """A key to encrypt with. Store `wrapped` beside the data; keep `plaintext` no longer than `until`."""

    plaintext: bytes = field(repr=False)
    wrapped: bytes
    until: float  # on the clock of time.monotonic()


class Client:
    """Data keys of any number of tenants. Safe to share between threads.

    Args:
        url: where the service is; https, except on this machine.
        timeout: seconds within which a call is repeated before its last problem is raised.
    """

    def __init__(self, url: str, client_id: str, client_secret: str, *, timeout: float = 30.0) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in {"localhost", "127.0.0.1", "::1"}:
            raise ValueError("secrets and keys travel over https only")
        self._parts, self._timeout = parts, timeout
        self._credentials = {"client_id": client_id, "client_secret": client_secret}
        self._lock = threading.Lock()
        self._token, self._renew_at = "", 0.0
        self._keys: dict[str, dict[tuple[bytes, str], DataKey]] = {}  # of each tenant
        self._since = ""

    # --- keys ----------------------------------------------------------------------------------------

    def new_key(self, tenant: str, context: Context | None = None) -> DataKey:
        """Make a data key. The same context has to be given to open it again."""
        asked_at = time.monotonic()
        answer, date = self._call("POST", f"/api/v1/tenants/{tenant}/data-keys", {"context": context or {}}, once=True)
        return self._keep(tenant, base64.b64decode(answer["wrapped_key"]), context, answer, asked_at, date)

    def open_key(self, tenant: str, wrapped: bytes, context: Context | None = None) -> DataKey:
        """Open a wrapped key, from the cache while `cache_until` lasts."""
        with self._lock:
            kept = self._keys.get(tenant, {}).get((wrapped, _canonical(context)))
        if kept is not None and kept.until > time.monotonic():
            return kept
        asked_at, body = time.monotonic(), {"wrapped_key": base64.b64encode(wrapped).decode(), "context": context or {}}
        answer, date = self._call("POST", f"/api/v1/tenants/{tenant}/data-keys/decrypt", body)
        return self._keep(tenant, wrapped, context, answer, asked_at, date)

    def purge(self, tenant: str) -> None:
        """Forget every key of a tenant, now."""
        with self._lock:
            self._keys.pop(tenant, None)

    def follow_key_states(self) -> list[dict[str, Any]]:
        """Ask what changed with the tenants' keys and purge those that serve no more. Call it every few seconds.

        A change may come twice: to purge twice does no harm. A full answer has another behind it.
        """
        changes: list[dict[str, Any]] = []
        is_full = True
        while is_full:
            path = "/api/v1/key-states" + (f"?{urlencode({'since': self._since})}" if self._since else "")
            answer, _ = self._call("GET", path)
            self._since = answer["next"] or self._since
            for change in answer["items"]:
                if change["status"] != "active":
                    self.purge(change["tenant"])
            changes += answer["items"]
            is_full = len(answer["items"]) >= FULL
        self._drop_expired()
        return changes

    def _keep(
        self, tenant: str, wrapped: bytes, context: Context | None, answer: Any, asked_at: float, date: datetime
    ) -> DataKey:
        # cache_until − Date, both of the service's clock, counted from before we asked on our own monotonic clock: a
        # wrong wall clock here never keeps a key longer. The service's Date has no fractions, so it may be up to a
        # second too early: that second is taken off.
        seconds = (datetime.fromisoformat(answer["cache_until"]) - date).total_seconds() - 1
        key = DataKey(base64.b64decode(answer["plaintext"]), wrapped, asked_at + max(0.0, seconds))
        with self._lock:
            self._keys.setdefault(tenant, {})[wrapped, _canonical(context)] = key
        return key

    def _drop_expired(self) -> None:
        now = time.monotonic()
        with self._lock:
            for tenant, keys in list(self._keys.items()):
                self._keys[tenant] = {name: key for name, key in keys.items() if key.until > now}

    # --- HTTP ----------------------------------------------------------------------------------------

    def _call(self, method: str, path: str, body: Any = None, *, once: bool = False) -> tuple[Any, datetime]:
        """Call until it works, cannot work, or `timeout` is over; a 423 purges the tenant's keys.

        Args:
            once: repeats have one effect. To open a key twice has none, so that goes without,
                and costs the service less.
        """
        headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": str(uuid.uuid4())} if once else {})
        content = json.dumps(body).encode() if body is not None else None
        end, pause, renewed = time.monotonic() + self._timeout, 0.1, False
        while True:
            try:
                headers["Authorization"] = f"Bearer {self._bearer()}"
                return self._send(method, path, headers, content)
            except Problem as problem:
                if problem.status == 423 and "/tenants/" in path:
                    self.purge(path.split("/")[4])
                if problem.status == 401 and not renewed:  # revoked before it ended: one new one
                    self._renew_at, renewed = 0.0, True
                    continue
                if not problem.body.get("retryable") or time.monotonic() > end:
                    raise
                wait = float(problem.body.get("retry_after") or 1)
            except (OSError, http.client.HTTPException):
                if time.monotonic() > end:
                    raise
                wait, pause = pause, min(pause * 2, 5.0)
            time.sleep(min(wait * random.uniform(1.0, 1.5), max(0.0, end - time.monotonic()) + 0.01))  # noqa: S311

    def _bearer(self) -> str:
        with self._lock:
            if time.monotonic() < self._renew_at:
                return self._token
            asked_at, form = time.monotonic(), {"grant_type": "client_credentials", **self._credentials}
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            answer, _ = self._send("POST", "/api/v1/oauth/token", headers, urlencode(form).encode())
            self._token, self._renew_at = answer["access_token"], asked_at + 0.8 * answer["expires_in"]
            return self._token

    def _send(self, method: str, path: str, headers: dict[str, str], content: bytes | None) -> tuple[Any, datetime]:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            connection = http.client.HTTPSConnection(host, port, timeout=10, context=ssl.create_default_context())
        else:
            connection = http.client.HTTPConnection(host, port, timeout=10)
        try:
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status >= 400:
            try:
                raise Problem(answer.status, json.loads(text))
            except ValueError:  # no JSON: a proxy in between; worth another try when it is not our fault
                raise Problem(answer.status, {"retryable": answer.status in {502, 503, 504}}) from None
        return json.loads(text), parsedate_to_datetime(answer.headers["Date"])


def _canonical(context: Context | None) -> str:
    return json.dumps(context or {}, sort_keys=True)


# --- files --------------------------------------------------------------------------------------------
#
# magic "BYOKF1" | length of the wrapped key, 2 bytes | wrapped key | chunks, each 64 KiB of plaintext + 16 bytes of tag
#
# Each file has a data key of its own, so a nonce may be a counter: 11 bytes of it, and one that is 1 in
# the last chunk only. The header is authenticated with each chunk.
# A chunk that is missing, swapped, doubled or cut off is found.

MAGIC, CHUNK, TAG = b"BYOKF1", 64 * 1024, 16


def encrypt_file(client: Client, tenant: str, source: str, target: str, context: Context | None = None) -> None:
    """Encrypt a file under a data key of its own."""
    key = client.new_key(tenant, context)
    header = MAGIC + struct.pack(">H", len(key.wrapped)) + key.wrapped
    cipher = AESGCM(key.plaintext)
    with open(source, "rb") as plain, _whole(target) as out:
        out.write(header)
        for number, (chunk, is_last) in enumerate(_chunks(plain, CHUNK)):
            out.write(cipher.encrypt(_nonce(number, is_last=is_last), chunk, header))


def decrypt_file(client: Client, tenant: str, source: str, target: str, context: Context | None = None) -> None:
    """Decrypt a file. The target appears only once the last chunk has proved that nothing is missing.

    Raises:
        ValueError: the file is damaged, cut off, or none of ours.
    """
    with open(source, "rb") as sealed, _whole(target) as out:
        start = sealed.read(len(MAGIC) + 2)
        if len(start) != len(MAGIC) + 2 or not start.startswith(MAGIC):
            raise ValueError("this is no file of ours")
        wrapped = sealed.read(struct.unpack(">H", start[len(MAGIC) :])[0])
        cipher = AESGCM(client.open_key(tenant, wrapped, context).plaintext)
        for number, (chunk, is_last) in enumerate(_chunks(sealed, CHUNK + TAG)):
            try:
                out.write(cipher.decrypt(_nonce(number, is_last=is_last), chunk, start + wrapped))
            except (InvalidTag, ValueError):
                raise ValueError(f"chunk {number} is damaged, or the file was cut off") from None


def _nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])


def _chunks(file: BinaryIO, size: int) -> Iterator[tuple[bytes, bool]]:
    """Read chunks, and say which is the last; an empty file has one, empty."""
    chunk = file.read(size)
    while following := file.read(size):
        yield chunk, False
        chunk = following
    yield chunk, True


class _whole:
    """A file that is there as a whole or not at all."""

    def __init__(self, path: str) -> None:
        self._path, self._part = path, f"{path}.{uuid.uuid4().hex}.part"

    def __enter__(self) -> BinaryIO:
        self._file: BinaryIO = open(os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        return self._file

    def __exit__(self, kind: object, *_: object) -> None:
        self._file.close()
        if kind is None:
            os.replace(self._part, self._path)
        else:
            os.unlink(self._part)


def main() -> None:
    operation, source, target = sys.argv[1:]
    client = Client(os.environ["BYOK_URL"], os.environ["BYOK_CLIENT_ID"], os.environ["BYOK_CLIENT_SECRET"])
    do = {"encrypt": encrypt_file, "decrypt": decrypt_file}[operation]
    do(client, os.environ["BYOK_TENANT"], source, target, {"file": os.path.basename(source).removesuffix(".byok")})


if __name__ == "__main__":
    main()
