"""Mistakes of step 1: the key, its state, and the ARN that is given for it; pure."""

from __future__ import annotations

from byokportal.localaws.mistakes import changes
from byokportal.localaws.mistakes.definition import OTHER_KEY, Mistake

KEY: dict[str, Mistake] = {
    "asymmetric-key": Mistake(
        1, "the key is an RSA key for encryption", "key", options={"KeySpec": "RSA_2048", "KeyUsage": "ENCRYPT_DECRYPT"}
    ),
    "rsa-4096-key": Mistake(
        1,
        "the key is a long RSA key for encryption",
        "key",
        options={"KeySpec": "RSA_4096", "KeyUsage": "ENCRYPT_DECRYPT"},
    ),
    "signing-key": Mistake(
        1, "the key is an RSA key for signing", "key", options={"KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY"}
    ),
    "ecc-key": Mistake(
        1,
        "the key is an elliptic curve key for signing",
        "key",
        options={"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"},
    ),
    "ecc-k1-key": Mistake(
        1,
        "the key is a secp256k1 key for signing",
        "key",
        options={"KeySpec": "ECC_SECG_P256K1", "KeyUsage": "SIGN_VERIFY"},
    ),
    "hmac-key": Mistake(
        1, "the key is an HMAC key", "key", options={"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"}
    ),
    "unimported-key": Mistake(
        1, "the key waits for its key material to be imported", "key", options={"Origin": "EXTERNAL"}
    ),
    "aws-managed-key": Mistake(1, "the ARN is that of an AWS managed key", "key-arn"),
    "disabled-key": Mistake(1, "the key is disabled", "key-state", options={"is": "disabled"}),
    "deleted-key": Mistake(1, "the key is scheduled for deletion", "key-state", options={"is": "deleted"}),
    "deleted-primary-key": Mistake(
        1,
        "the multi-Region key is scheduled for deletion and waits for its replicas",
        "key-state",
        options={"is": "replicas deleted"},
    ),
    "missing-key": Mistake(
        1, "the ARN names a key that there is not", "key-arn", lambda arn, _: arn.rpartition("/")[0] + f"/{OTHER_KEY}"
    ),
    "key-in-other-region": Mistake(
        1, "the ARN has another Region than the key", "key-arn", lambda arn, _: changes.other_region(arn)
    ),
    "key-of-other-account": Mistake(
        1, "the ARN has another account than the key", "key-arn", lambda arn, _: changes.other_account(arn)
    ),
    "replica-key": Mistake(
        1,
        "the key is a replica of a multi-Region key, with a key policy of its own (it works)",
        "key-state",
        options={"is": "replica"},
    ),
    "missing-replica": Mistake(
        1,
        "the ARN is that of a replica in a Region without one",
        "key-arn",
        lambda arn, _: changes.other_region(arn),
        {"MultiRegion": True},
    ),
}
