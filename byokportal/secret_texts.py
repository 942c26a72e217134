"""Secrets in a text that a person sent and that we would keep: what is refused, and nothing else; pure.

Refused are: an AWS access key id together with a secret access key (40 characters that are no hexadecimal number) or a
session token; private keys in PEM and OpenSSH form; JSON Web Tokens; tokens and client secrets of ours. An access key
id alone, ARNs, External IDs, unique ids, hashes, certificates, SAML metadata and ciphertext of KMS are no secrets.

Every pattern is bounded, and each text is read a fixed number of times: the time is linear in its length.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote

from byokportal.errors import SecretPasted
from byokportal.translation import lazy
from byokportal.translation import translate as _

# AWS, IAM guide "Unique identifiers": AKIA and ASIA are access keys, ABIA and ACCA bearer and context-specific ones.
KEY_ID = re.compile(r"(?<![A-Z0-9])(?:AKIA|ASIA|ABIA|ACCA|A3T[A-Z0-9])[A-Z0-9]{16}(?![A-Z0-9])", re.ASCII)
FORTY = re.compile(r"(?<![A-Za-z0-9/+_-])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=_-])", re.ASCII)
HEX = re.compile(r"[0-9a-fA-F]{40}", re.ASCII)
# By its name, or by how STS begins it.
SESSION_TOKEN = re.compile(
    (
        r"(?:session|security)[_-]?token[\"'\\\s:=>]{1,10}[A-Za-z0-9/+=%_-]{16}|(?:FwoGZXIvYXdz|FQoGZXIvYXdz"
        r"|IQoJb3JpZ2lu|AQoDYXdz|AQoEXAMPLE)[A-Za-z0-9/+=]{8}"
    ),
    re.IGNORECASE | re.ASCII,
)
PRIVATE_KEY = re.compile(r"-{2,5}\s{0,3}BEGIN\s{1,3}(?:[A-Z0-9]{1,12}\s{1,3}){0,3}PRIVATE\s{1,3}KEY", re.ASCII)
OURS = re.compile(r"byok_[a-z]{2}_[A-Za-z0-9_-]{43}", re.ASCII)
# What stands before the first dot of three parts; whether it is the header of a JWT is seen by decoding it.
HEADER = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{8,}+(?=\.[A-Za-z0-9_-]*\.)", re.ASCII)
HEADER_BEGINS = ("eyJ", "eyA", "ewo", "ewk", "ew0")  # base64 of "{" and what may follow it
HEADER_LENGTH = 4_096  # characters; longer ones no server takes in a header either
STARTS = 8  # places in one run of characters at which a header is looked for

ARN = re.compile(r"arn:aws[a-z-]{0,12}:[^\s\"'<>,;\\]{1,2048}", re.ASCII)
# none that carries a sign-in before an @
ADDRESS = re.compile(r"https?://[^\s\"'<>?#@]{1,2048}(?![^\s\"'<>?#@]|@)", re.ASCII)
INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff"))
ESCAPED = re.compile(r"\\(?:r\\n|[nrt])")  # as JSON and shells write ends of lines
WRAPPED = re.compile(r"(?<=[A-Za-z0-9/+=._-]{4})[ \t]{0,80}\r?\n[ \t>|]{0,80}(?=[A-Za-z0-9/+=._-])", re.ASCII)
RUN = re.compile(r"[A-Za-z0-9/+=]{44,}", re.ASCII)


def found_in(text: str) -> str:
    """Return what secret a text holds, in words; "" when it holds none."""
    for reading in _readings(text):
        if PRIVATE_KEY.search(reading):
            return lazy("a private key")
        if OURS.search(reading):
            return lazy("a token or client secret of Kore.ai's")
        if _has_jwt(reading):
            return lazy("a JSON Web Token")
    if not KEY_ID.search(_plain(text)):
        return ""
    for reading in _readings(text):
        if SESSION_TOKEN.search(reading):
            return lazy("an AWS access key with its session token")
    if _has_secret_key(_plain(text)):
        return lazy("an AWS access key with its secret")
    return ""


def refuse(*texts: str, field: str = "") -> None:
    """Raise if one of the texts, or all of them together, hold a secret.

    Args:
        field: where the sentence belongs.

    Raises:
        SecretPasted: with what it is; the secret itself stands nowhere in it.
    """
    what = next(filter(None, map(found_in, texts)), "") or (found_in("\n".join(texts)) if len(texts) > 1 else "")
    if what:
        why = _(
            "This holds what looks like %(what)s. We did not keep it, but it was sent to us: "
            "rotate it now, then send the text without it.",
            what=_(what),
        )
        raise SecretPasted(why=why, errors={field: [why]} if field else None)


def refuse_in(fields: Iterable[tuple[str, str]]) -> None:
    """Raise if a field, or all fields together, hold a secret.

    Raises:
        SecretPasted: under the field that holds it.
    """
    pairs = list(fields)
    for name, text in pairs:
        refuse(text, field="" if found_in(name) else name)
    refuse(*(part for pair in pairs for part in pair))


def strings_of(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text of a JSON value with where it stands, the names of its members too."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield path, str(name)
            yield from strings_of(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from strings_of(inner, f"{path}.{number}" if path else str(number))


def _plain(text: str) -> str:
    """Return the text as it was before something escaped it."""
    text = ESCAPED.sub("\n", text.translate(INVISIBLE).replace("\\/", "/"))
    return unquote(text) if "%" in text else text


def _readings(text: str) -> tuple[str, ...]:
    plain = _plain(text)
    unwrapped = WRAPPED.sub("", plain)
    return (plain,) if unwrapped == plain else (plain, unwrapped)


def _has_jwt(text: str) -> bool:
    return any(_is_header(run[start : start + HEADER_LENGTH]) for run in HEADER.findall(text) for start in _starts(run))


def _starts(run: str) -> Iterator[int]:
    for begin in HEADER_BEGINS:
        at = -1
        for _start in range(STARTS):
            at = run.find(begin, at + 1)
            if at < 0:
                break
            yield at


def _is_header(part: str) -> bool:
    try:
        header = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return False
    return isinstance(header, dict) and "alg" in header


def _has_secret_key(text: str) -> bool:
    """Tell whether forty characters stand there that can be a secret access key;
    no part of an ARN, an address or a longer block."""
    text = ADDRESS.sub(" ", ARN.sub(" ", text))
    lines = text.splitlines() or [text]
    for number, line in enumerate(lines):
        for match in FORTY.finditer(line):
            if HEX.fullmatch(match[0]):
                continue
            alone = line.strip() == match[0]
            if alone and any(
                RUN.fullmatch(lines[beside].strip()) for beside in (number - 1, number + 1) if 0 <= beside < len(lines)
            ):
                continue  # a line of a certificate or a ciphertext
            return True
    unwrapped = WRAPPED.sub("", KEY_ID.sub(" ", text))
    return any(_is_mixed(match[0]) for match in FORTY.finditer(unwrapped) if match[0] not in text)


def _is_mixed(run: str) -> bool:
    """Tell whether a run that was put together from lines looks random: words under each other do not."""
    return not HEX.fullmatch(run) and all(
        any(test(sign) for sign in run) for test in (str.isupper, str.islower, str.isdigit)
    )
