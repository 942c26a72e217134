"""Make an authority of this installation, once, and certificates of it for Redis and the proxy; compose runs it.

The authority's key is thrown away when the certificates are made: nobody can make another one.
Replace the proxy's by one that browsers trust.
"""

from __future__ import annotations

import datetime
import os
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LASTS = datetime.timedelta(days=825)
# Who reads a key: the users of the images of Redis and nginx.
READERS = {"redis": 999, "proxy": 101}


def main(folder: Path, host: str) -> None:
    if (folder / "ca.pem").exists():
        return
    authority = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "byok of this installation")])
    ca = _certificate(issuer, issuer, authority, authority.public_key(), x509.BasicConstraints(ca=True, path_length=0))
    for name, hosts in (("redis", ["redis"]), ("proxy", [host])):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
        names = x509.SubjectAlternativeName([x509.DNSName(one) for one in hosts])
        made = _certificate(subject, issuer, authority, key.public_key(), names)
        _write(folder / f"{name}.pem", made.public_bytes(serialization.Encoding.PEM), 0o644)
        plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        _write(folder / f"{name}.key", key.private_bytes(serialization.Encoding.PEM, *plain), 0o400)
        os.chown(folder / f"{name}.key", READERS[name], READERS[name])
    _write(folder / "ca.pem", ca.public_bytes(serialization.Encoding.PEM), 0o644)  # last: with it all is there


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    signer: ec.EllipticCurvePrivateKey,
    public: ec.EllipticCurvePublicKey,
    extension: x509.ExtensionType,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + LASTS)
        .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    )
    return made.sign(signer, hashes.SHA256())


def _write(path: Path, content: bytes, mode: int) -> None:
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(content)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
