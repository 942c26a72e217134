"""Verify the receipts of a closing by the public key of the log's seal. It needs Python 3.11 and `cryptography`.

python verify_receipt.py receipt-1.json receipt-2.json --public-key BASE64
"""

import argparse
import base64
import hashlib
import json
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

LONGEST = 4096  # bytes; of a longer receipt its digest is signed


def canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("receipts", nargs="+", type=Path)
    parser.add_argument("--public-key", required=True, help="base64 of its 32 bytes, not from the receipt")
    given = parser.parse_args()
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(given.public_key, validate=True))
    wrong = 0
    for path in given.receipts:
        try:
            document = json.loads(path.read_bytes())
            body = document["body"]
            text = canonical(body)
            if len(text) > LONGEST:
                digest = hashlib.sha256(text).hexdigest()
                text = canonical({"what": "byok closing receipt, v1, by digest", "sha256": digest})
            public.verify(base64.b64decode(document["signature"], validate=True), text)
            if body["what"] != "byok closing receipt, v1":
                raise ValueError("it is a signature for something else")
        except (InvalidSignature, ValueError, KeyError, TypeError) as error:
            print(f"{path}: no receipt that this key signed ({error or 'the signature is another'})")
            wrong += 1
            continue
        print(f"{path}: receipt {body['number']} for {body['name']}, signed {body['signed_at']}")
        for place in body["places"]:
            print(f"  {place['place']}: {place['state']} ({place['how']}), {place['until']}. {place['text']}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
