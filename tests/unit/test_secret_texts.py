"""The rule for pasted secrets, both sides of it; nothing here is a secret of anybody's."""

from __future__ import annotations

import base64
import json
import time

import pytest

from byokportal import secret_texts
from byokportal.errors import SecretPasted
from tenants import tokens

# Put together here so that no scanner of repositories takes them for real.
ID, TEMPORARY = "AKIA" + "IOSFODNN7EXAMPLE", "ASIA" + "IOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYEXAMPLEKEY"
SESSION = "IQoJb3JpZ2luX2VjEJr" + "A" * 300 + "=="
NAMED_SESSION = "FwoGZXIvYXdzEBYaDHqa"
CIPHERTEXT = base64.b64encode(bytes(range(1, 256)) * 2).decode()
UID = "AROA" + "IOSFODNN7EXAMPLE2"
EXTERNAL_ID = "byok-ab-" + SECRET.replace("/", "x")
ARN = f"arn:aws:iam::111122223333:role/{'p' * 35}"
SHA1, SHA256 = (
    "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
)
BODY = base64.b64encode(bytes(range(200))).decode()
CERTIFICATE = (
    "-----BEGIN CERTIFICATE-----\n"
    + "\n".join(BODY[at : at + 64] for at in range(0, 232, 64))
    + "\n-----END CERTIFICATE-----"
)
SAML = (
    f'<EntityDescriptor entityID="https://idp.example/{"a" * 40}"><X509Certificate>{CIPHERTEXT}</X509Certificate>'
    "</EntityDescriptor>"
)


def pem(kind: str = "RSA ", end: str = "\n") -> str:
    return (
        f"-----BEGIN {kind}PRIVATE KEY-----{end}{BODY[:64]}{end}{BODY[64:128]}{end}-----END {kind}PRIVATE KEY-----{end}"
    )


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


JWT = f"{part({'alg': 'RS256', 'kid': '1'})}.{part({'sub': 'x', 'exp': 1})}.{'c2ln' * 20}"
ASSUME_ROLE = json.dumps(
    {"Credentials": {"AccessKeyId": TEMPORARY, "SecretAccessKey": SECRET, "SessionToken": SESSION, "Expiration": "x"}},
    indent=4,
)

REFUSED = [
    f"{ID} {SECRET}",
    f"{ID}:{SECRET}",
    f"{SECRET}\n\nsome words, and then the id {ID}.",
    f"AWS_ACCESS_KEY_ID={ID}\nAWS_SECRET_ACCESS_KEY={SECRET}\n",
    f"export AWS_ACCESS_KEY_ID='{ID}'; export AWS_SECRET_ACCESS_KEY='{SECRET}'",
    f"[default]\r\naws_access_key_id = {ID}\r\naws_secret_access_key = {SECRET}\r\n",
    f"User name,Access key ID,Secret access key\nalice,{ID},{SECRET}",
    f'{{"AccessKeyId": "{ID}", "SecretAccessKey": "{SECRET}"}}',
    json.dumps({"AccessKeyId": ID, "SecretAccessKey": SECRET}).replace("/", "\\/"),
    json.dumps(f"{ID}\n{SECRET}"),
    f"id={ID}&secret={SECRET.replace('/', '%2F')}",
    f"{ID}\n{SECRET[:20]}\n{SECRET[20:]}",
    f"{ID} and {SECRET[:20]}\r\n    {SECRET[20:]}",
    f"{ID} {SECRET[:8]}\u200b{SECRET[8:]}",
    f"{ARN} {ID} {SECRET}",
    f"{CERTIFICATE}\n{ID}\n{SECRET}",
    f"{ID} {SHA1} {SECRET}",
    ASSUME_ROLE,
    ASSUME_ROLE.replace(SECRET, "…"),
    json.dumps(ASSUME_ROLE),
    f"{TEMPORARY} aws_session_token = {SESSION}",
    f"<AccessKeyId>{TEMPORARY}</AccessKeyId><SessionToken>{NAMED_SESSION}</SessionToken>",
    f"https://bucket.s3.amazonaws.com/x?X-Amz-Credential={TEMPORARY}%2F20260101&X-Amz-Security-Token={SESSION}",
    f"{TEMPORARY} {SESSION}",
    pem(),
    pem(""),
    pem("EC "),
    pem("ENCRYPTED "),
    pem("OPENSSH "),
    pem(end="\r\n"),
    pem(end=" "),
    pem(end=""),
    json.dumps({"private_key": pem("")}),
    pem().replace("PRIVATE KEY", "PRIVATE\nKEY"),
    "> " + pem().replace("\n", "\n> "),
    pem()[:80],
    JWT,
    f"Authorization: Bearer {JWT}",
    f"token={JWT}",
    f"curl -H 'authorization: bearer {JWT}' https://x.example/",
    f"{JWT[:30]}\n{JWT[30:90]}\n{JWT[90:]}",
    f"see{JWT}",
    f"{part({'typ': 'JWT', 'alg': 'none'})}.{part({'sub': 'x'})}.",
    base64.urlsafe_b64encode(b'{ "alg": "HS256" }').decode().rstrip("=") + ".e30.c2ln",
    base64.urlsafe_b64encode(b'{\n  "alg": "HS256" }').decode().rstrip("=") + ".e30.c2ln",
    *(tokens.new_secret(kind) for kind in ("at", "st", "cs", "il")),  # type: ignore[arg-type]
    f"Authorization: Bearer {tokens.new_secret('at')}",
]

KEPT = [
    "",
    "Our key is disabled since Monday. Whom do we ask?",
    ID,
    f"{ID} and {TEMPORARY}",
    f"arn:aws:iam::111122223333:user/{ID}",
    SECRET,  # alone it may be anything
    f"{ID} {SHA1} {SHA256} {SHA1.upper()}",
    f"{ID} {ARN}",
    f"{ID} arn:aws:kms:eu-central-1:111122223333:key/mrk-{'a' * 32}",
    f"{ID} arn:aws:sts::111122223333:assumed-role/{'R' * 30}/{'s' * 40}",
    f"{ID} {EXTERNAL_ID}",
    f"{ID} {UID}",
    f"{ID} {CIPHERTEXT}",
    f"{ID}\n" + "\n".join(CIPHERTEXT[at : at + 64] for at in range(0, 616, 64)),  # whose last line has forty characters
    f"{ID} {CERTIFICATE}",
    f"{ID} {SAML}",
    f"{ID} https://console.aws.amazon.com/kms/home/{'x' * 36}?region=eu-central-1",
    f"{ID} {'words ' * 500}",
    f"{ID}\nalpha\nbeta\ngamma\ndelta\nepsilon\nzeta\neta\ntheta\niota\nkappa\nlambda",
    (
        "An error occurred (AccessDenied) when calling the AssumeRole operation: User: "
        "arn:aws:sts::111122223333:assumed-role/x/y is not authorized"
    ),
    "UnrecognizedClientException: The security token included in the request is invalid.",
    "InvalidClientTokenId: The session token is missing, " + ID,
    "Encoded authorization failure message: " + CIPHERTEXT.replace("+", "-").replace("/", "_"),
    CERTIFICATE,
    "-----BEGIN PUBLIC KEY-----\n" + BODY + "\n-----END PUBLIC KEY-----",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43 + " alice@acme.example",
    SAML,
    EXTERNAL_ID,
    CIPHERTEXT,
    f"{part({'no': 'header'})}.{part({'sub': 'x'})}.c2ln",
    "a.b.c",
    "www.example.com",
    "1.2.3",
    "eyJoZWxsbyI6MX0.example.com",
    "io.kore.byok_at_something.Name",
    "byok_at_short",
    "byok_" + "a" * 43,
    json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Action": "sts:AssumeRole",
                    "Condition": {"StringEquals": {"sts:ExternalId": EXTERNAL_ID}},
                }
            ],
        }
    ),
    "uuid 5f8c1f0e-0000-4000-8000-000000000000 " + ID,
]


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_a_secret_is_refused_and_never_repeated(text: str) -> None:
    with pytest.raises(SecretPasted, match="rotate it now") as refused:
        secret_texts.refuse(text, field="text")
    said = str(refused.value) + str(refused.value.params) + str(refused.value.errors)
    assert not any(piece in said for piece in (SECRET, ID, SESSION, BODY[:20], JWT[:20], "byok_"))


@pytest.mark.parametrize("text", KEPT, ids=range(len(KEPT)))
def test_what_is_no_secret_is_kept(text: str) -> None:
    assert secret_texts.found_in(text) == ""


def test_a_secret_in_two_fields_is_one() -> None:
    with pytest.raises(SecretPasted):
        secret_texts.refuse_in([("subject", ID), ("text", SECRET)])
    secret_texts.refuse_in([("subject", ID), ("text", "nothing")])


def test_every_text_of_a_body_is_looked_at() -> None:
    for body in ({"a": {"b": [1, {"c": JWT}]}}, {"a": [JWT]}, {JWT: 1}):
        with pytest.raises(SecretPasted) as refused:
            secret_texts.refuse_in(secret_texts.strings_of(body))
        assert JWT[:20] not in str(refused.value.errors)


def test_the_time_is_linear() -> None:
    """Compare lengths on this machine: a text of four times the length takes nowhere near sixteen times as long."""
    pieces = [
        "A",
        "eyJ",
        "eyJhbGciOi.",
        "a.",
        "-----BEGIN ",
        "https://",
        "arn:aws:iam::",
        f"{ID} ",
        "\n",
        " \n",
        "x" * 40 + "\n",
        "session_token",
        "%2F",
        "\\n",
        "AKIA",
        "A" * 39 + " ",
        "-" * 5,
    ]
    for piece in pieces:
        took = []
        for size in (40_000, 160_000):
            text = ID + " " + piece * (size // len(piece))
            began = time.process_time()
            secret_texts.found_in(text)
            took.append(time.process_time() - began)
        assert took[1] < 0.05 or took[1] < took[0] * 10, (piece, took)
