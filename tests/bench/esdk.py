"""The AWS Encryption SDK as the peer: runs in .venv-bench,
encrypts and decrypts 1 KiB with cached materials, round by round.

Started with what it needs as JSON in its first line;
each further line asks for a round of that many, and is answered with the seconds.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import metadata


def main() -> None:
    given = json.loads(sys.stdin.readline())
    os.environ.update(given["environment"])
    import aws_encryption_sdk as sdk
    from aws_encryption_sdk.identifiers import CommitmentPolicy

    client = sdk.EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)
    materials = sdk.CachingCryptoMaterialsManager(
        master_key_provider=sdk.StrictAwsKmsMasterKeyProvider(key_ids=[given["key_arn"]]),
        cache=sdk.LocalCryptoMaterialsCache(100),
        max_age=3600.0,
    )
    plaintext, context = os.urandom(1024), {"object": "invoice-17"}
    print(json.dumps({"version": metadata.version("aws-encryption-sdk")}), flush=True)
    for line in sys.stdin:
        count = int(line)
        began = time.perf_counter()
        for _ in range(count):
            sealed, _header = client.encrypt(source=plaintext, materials_manager=materials, encryption_context=context)
            opened, _header = client.decrypt(source=sealed, materials_manager=materials)
        print(time.perf_counter() - began, flush=True)
        assert opened == plaintext


if __name__ == "__main__":
    main()
