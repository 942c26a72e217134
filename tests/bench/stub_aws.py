"""A stand-in for STS and KMS that says yes to everything after a while, over TLS as AWS does.

`python stub_aws.py DELAY_SECONDS FOLDER` prints its port;
the certificate that its clients have to trust is FOLDER/ca.pem.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import sys
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import parse_qs

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ASSUMED = (
    '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><AssumedRoleUser>'
    "<AssumedRoleId>AROASTUBSTUBSTUBSTUB1:s</AssumedRoleId><Arn>arn:aws:sts::{account}:assumed-role/{role}/s</Arn>"
    "</AssumedRoleUser><Credentials><AccessKeyId>ASIASTUBSTUBSTUBSTUB</AccessKeyId>"
    "<SecretAccessKey>{secret}</SecretAccessKey><SessionToken>{token}</SessionToken><Expiration>{until}</Expiration>"
    "</Credentials></AssumeRoleResult><ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata>"
    "</AssumeRoleResponse>"
)
KEY = base64.b64encode(bytes(32)).decode()


def answer(head: bytes, body: bytes) -> tuple[str, str]:
    """Return the content type and the body of the answer to one request."""
    if b"TrentService." not in head:
        until = (datetime.now(UTC) + timedelta(seconds=900)).strftime("%Y-%m-%dT%H:%M:%SZ")
        asked = parse_qs(body.decode())["RoleArn"][0].split(":")
        named = {"account": asked[4], "role": asked[5].rpartition("/")[2]}
        return "text/xml", ASSUMED.format(secret="s" * 40, token="t" * 700, until=until, **named)
    arn = json.loads(body)["KeyId"]
    if b"TrentService.DescribeKey" in head:
        metadata = {
            "Arn": arn,
            "KeyId": arn.rpartition("/")[2],
            "AWSAccountId": arn.split(":")[4],
            "KeyState": "Enabled",
            "Enabled": True,
            "KeyManager": "CUSTOMER",
            "KeyUsage": "ENCRYPT_DECRYPT",
            "KeySpec": "SYMMETRIC_DEFAULT",
            "Origin": "AWS_KMS",
            "MultiRegion": False,
        }
        return "application/x-amz-json-1.1", json.dumps({"KeyMetadata": metadata})
    return "application/x-amz-json-1.1", json.dumps(
        {"KeyId": arn, "Plaintext": KEY, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}
    )


def certificate(folder: Path) -> ssl.SSLContext:
    """Make a certificate for this machine, and the server's side of TLS with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")]), datetime.now(UTC)
    made = (
        x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), now - timedelta(days=1), now + timedelta(days=1)
        )
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    own, secret = folder / "ca.pem", folder / "key.pem"
    own.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own, secret)
    return context


async def serve(delay: float, folder: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
                )
                content_type, said = answer(head, await reader.readexactly(length))
                await asyncio.sleep(delay)
                writer.write(
                    (
                        f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nx-amzn-RequestId: r-1\r\n"
                        f"Content-Length: {len(said)}\r\n\r\n{said}"
                    ).encode()
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, backlog=1024, ssl=certificate(folder))
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]), Path(sys.argv[2])))
