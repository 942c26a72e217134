"""KMS as it was recorded on AWS, and as its guide has it: kinds of keys, tags, rotation, grants, key pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from tests.localaws.conformance.rows import KMS, KMS_API, LOCALSTACK, allowed, refused
from tests.localaws.conformance.world import ELSEWHERE, World, allow, deny, policy, trusting

RECORDED = LOCALSTACK + "kms/test_kms.snapshot.json"
GRANTS = KMS + "create-grant-overview.html"
RETIRE = KMS + "grant-delete.html"
USAGE = ("InvalidKeyUsageException", 400)
INCORRECT = "The key ID in the request does not identify a CMK that can perform this operation."
PLAIN = b"sixteen bytes!!!"
Options = dict[str, Any]


def _kms(w: World) -> Any:
    return w.client(w.theirs, "kms")


# --- kinds that there are ---------------------------------------------------------------------------------------------

HMAC: Options = {"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"}
SIGNING: Options = {"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"}
RSA: Options = {"KeySpec": "RSA_2048", "KeyUsage": "ENCRYPT_DECRYPT"}

# (options of CreateKey, words)
IMPOSSIBLE: list[tuple[Options, str]] = [
    ({"KeySpec": spec}, "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.")
    for spec in ("HMAC_224", "RSA_2048", "ECC_NIST_P384")
] + [
    ({"KeySpec": spec, "KeyUsage": usage}, f"KeyUsage {usage} is not compatible with KeySpec {spec}")
    for spec, usage in (
        ("RSA_2048", "KEY_AGREEMENT"),
        ("RSA_4096", "GENERATE_VERIFY_MAC"),
        ("SYMMETRIC_DEFAULT", "SIGN_VERIFY"),
        ("SYMMETRIC_DEFAULT", "GENERATE_VERIFY_MAC"),
        ("HMAC_256", "ENCRYPT_DECRYPT"),
        ("HMAC_512", "SIGN_VERIFY"),
        ("ECC_NIST_P256", "ENCRYPT_DECRYPT"),
        ("ECC_SECG_P256K1", "KEY_AGREEMENT"),
        ("ECC_SECG_P256K1", "GENERATE_VERIFY_MAC"),
    )
]


def _impossible_row(options: Options, words: str) -> None:
    page = (
        RECORDED
        if options in ({"KeySpec": "HMAC_224"}, {"KeySpec": "RSA_2048", "KeyUsage": "KEY_AGREEMENT"})
        else (KMS_API + "API_CreateKey.html")
    )

    @refused(
        page, "ValidationException", 400, message=words, name=f"a key that cannot be: {' '.join(options.values())}"
    )
    def act(w: World) -> None:
        _kms(w).create_key(**options)


for _options, _words in IMPOSSIBLE:
    _impossible_row(_options, _words)


@refused(KMS_API + "API_CreateKey.html", "ValidationException", 400)
def a_key_with_a_spec_by_two_names(w: World) -> None:
    _kms(w).create_key(KeySpec="RSA_2048", CustomerMasterKeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")


@refused(KMS_API + "API_CreateKey.html", "CustomKeyStoreNotFoundException", 400)
def a_key_in_a_key_store_that_is_not_there(w: World) -> None:
    _kms(w).create_key(Origin="AWS_CLOUDHSM", CustomKeyStoreId="cks-1234567890abcdef0")


@refused(KMS_API + "API_CreateKey.html", "ValidationException", 400)
def a_key_of_a_key_store_that_is_not_named(w: World) -> None:
    _kms(w).create_key(Origin="AWS_CLOUDHSM")


@refused(KMS_API + "API_CreateKey.html", "UnsupportedOperationException", 400)
def a_key_pair_in_a_key_store(w: World) -> None:
    _kms(w).create_key(Origin="AWS_CLOUDHSM", CustomKeyStoreId="cks-1234567890abcdef0", **RSA)


# (options of CreateKey, the fields of algorithms that DescribeKey has of it)
DESCRIBED: list[tuple[Options, dict[str, list[str]]]] = [
    ({}, {"EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"]}),
    (HMAC, {"MacAlgorithms": ["HMAC_SHA_256"]}),
    (SIGNING, {"SigningAlgorithms": ["ECDSA_SHA_256"]}),
    (RSA, {"EncryptionAlgorithms": ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"]}),
    ({"KeySpec": "ECC_NIST_P384", "KeyUsage": "KEY_AGREEMENT"}, {"KeyAgreementAlgorithms": ["ECDH"]}),
]


def _described_row(options: Options, algorithms: dict[str, list[str]]) -> None:
    page = RECORDED if options in ({}, HMAC) else KMS_API + "API_KeyMetadata.html"

    @allowed(page, name=f"what is told of a key: {' '.join(options.values()) or 'plain'}")
    def act(w: World) -> None:
        made = _kms(w).create_key(**options)["KeyMetadata"]
        w._undo.append(lambda: _kms(w).schedule_key_deletion(KeyId=made["Arn"], PendingWindowInDays=7))
        for facts in (made, _kms(w).describe_key(KeyId=made["KeyId"])["KeyMetadata"]):
            assert {name: value for name, value in facts.items() if name.endswith("Algorithms")} == algorithms


for _options, _algorithms in DESCRIBED:
    _described_row(_options, _algorithms)

# --- keys of another kind ---------------------------------------------------------------------------------------------

ASKED: dict[str, Callable[[Any, str], Any]] = {
    "Encrypt": lambda kms, key: kms.encrypt(KeyId=key, Plaintext=PLAIN),
    "GenerateDataKey": lambda kms, key: kms.generate_data_key(KeyId=key, KeySpec="AES_256"),
    "GenerateDataKeyPair": lambda kms, key: kms.generate_data_key_pair(KeyId=key, KeyPairSpec="ECC_NIST_P256"),
    "Sign": lambda kms, key: kms.sign(KeyId=key, Message=b"x", SigningAlgorithm="RSASSA_PSS_SHA_256"),
    "Verify": lambda kms, key: kms.verify(KeyId=key, Message=b"x", Signature=b"y", SigningAlgorithm="ECDSA_SHA_256"),
    "GenerateMac": lambda kms, key: kms.generate_mac(KeyId=key, Message=b"x", MacAlgorithm="HMAC_SHA_224"),
    "VerifyMac": lambda kms, key: kms.verify_mac(KeyId=key, Message=b"x", Mac=b"y", MacAlgorithm="HMAC_SHA_224"),
}
# (operation, key, whether that very answer was recorded)
OTHERS: list[tuple[str, Options, bool]] = [
    ("Encrypt", {"KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY"}, True),
    ("Encrypt", HMAC, False),
    ("GenerateDataKey", HMAC, False),
    ("GenerateDataKey", SIGNING, False),
    ("GenerateDataKeyPair", HMAC, False),
    ("Sign", HMAC, True),
    ("Sign", {}, False),
    ("Sign", RSA, False),
    ("Verify", {}, True),
    ("Verify", RSA, False),
    ("GenerateMac", {}, True),
    ("GenerateMac", SIGNING, False),
    ("VerifyMac", {}, False),
]


def _other_row(operation: str, options: Options, recorded: bool) -> None:
    usage = options.get("KeyUsage", "ENCRYPT_DECRYPT")

    @refused(
        RECORDED if recorded else KMS_API + f"API_{operation}.html",
        *USAGE,
        f"key usage is {usage} which is not valid for {operation}.",
        name=f"{operation} with a key for {usage} of spec {options.get('KeySpec', 'SYMMETRIC_DEFAULT')}",
    )
    def act(w: World) -> None:
        ASKED[operation](_kms(w), w.key(w.theirs, **options))


for _other in OTHERS:
    _other_row(*_other)


def _opening_row(name: str, options: Options, page: str) -> None:
    @refused(page, "IncorrectKeyException", 400, message=INCORRECT, name=f"Decrypt that names a key {name}")
    def decrypt(w: World) -> None:
        blob = _kms(w).encrypt(KeyId=w.key(w.theirs), Plaintext=PLAIN)["CiphertextBlob"]
        _kms(w).decrypt(CiphertextBlob=blob, KeyId=w.key(w.theirs, **options))

    @refused(page, "IncorrectKeyException", 400, message=INCORRECT, name=f"ReEncrypt that names a key {name}")
    def re_encrypt(w: World) -> None:
        key = w.key(w.theirs)
        blob = _kms(w).encrypt(KeyId=key, Plaintext=PLAIN)["CiphertextBlob"]
        _kms(w).re_encrypt(CiphertextBlob=blob, SourceKeyId=w.key(w.theirs, **options), DestinationKeyId=key)


_opening_row("for codes", HMAC, RECORDED)
_opening_row("for signing", SIGNING, KMS_API + "API_Decrypt.html")
_opening_row("that did not make it", {}, RECORDED)


@refused(KMS_API + "API_ReEncrypt.html", *USAGE, "key usage is GENERATE_VERIFY_MAC which is not valid for ReEncrypt.")
def re_encrypt_to_a_key_for_codes(w: World) -> None:
    blob = _kms(w).encrypt(KeyId=w.key(w.theirs), Plaintext=PLAIN)["CiphertextBlob"]
    _kms(w).re_encrypt(CiphertextBlob=blob, DestinationKeyId=w.key(w.theirs, **HMAC))


# (name, key, call, words)
ALGORITHMS: list[tuple[str, Options, Callable[[Any, str], Any], str]] = [
    (
        "a code",
        {"KeySpec": "HMAC_224", "KeyUsage": "GENERATE_VERIFY_MAC"},
        lambda kms, key: kms.generate_mac(KeyId=key, Message=b"x", MacAlgorithm="HMAC_SHA_256"),
        "Algorithm HMAC_SHA_256 is incompatible with key spec HMAC_224.",
    ),
    (
        "a check of a code",
        HMAC,
        lambda kms, key: kms.verify_mac(KeyId=key, Message=b"x", Mac=b"y", MacAlgorithm="HMAC_SHA_512"),
        "Algorithm HMAC_SHA_512 is incompatible with key spec HMAC_256.",
    ),
    (
        "a signature",
        SIGNING,
        lambda kms, key: kms.sign(KeyId=key, Message=b"x", SigningAlgorithm="ECDSA_SHA_384"),
        "Algorithm ECDSA_SHA_384 is incompatible with key spec ECC_NIST_P256.",
    ),
    (
        "a plaintext",
        {},
        lambda kms, key: kms.encrypt(KeyId=key, Plaintext=b"x", EncryptionAlgorithm="RSAES_OAEP_SHA_1"),
        "Algorithm RSAES_OAEP_SHA_1 is incompatible with key spec SYMMETRIC_DEFAULT.",
    ),
]


def _algorithm_row(name: str, options: Options, call: Callable[[Any, str], Any], words: str) -> None:
    page = RECORDED if "HMAC" in words else KMS_API + "API_Sign.html"

    @refused(page, *USAGE, message=words, name=f"{name} by an algorithm of another key spec")
    def act(w: World) -> None:
        call(_kms(w), w.key(w.theirs, **options))


for _algorithm in ALGORITHMS:
    _algorithm_row(*_algorithm)

# --- key pairs and codes ----------------------------------------------------------------------------------------------


def _longest_row(algorithm: str, longest: int) -> None:
    words = f"Algorithm {algorithm} and key spec RSA_2048 cannot encrypt data larger than {longest} bytes."

    @refused(RECORDED, "ValidationException", 400, message=words, name=f"{algorithm} of one byte too many")
    def too_long(w: World) -> None:
        key = w.key(w.theirs, **RSA)
        _kms(w).encrypt(KeyId=key, Plaintext=b"x" * (longest + 1), EncryptionAlgorithm=algorithm)

    @allowed(KMS_API + "API_Encrypt.html", name=f"{algorithm} there and back")
    def longest_(w: World) -> None:
        key = w.key(w.theirs, **RSA)
        blob = _kms(w).encrypt(KeyId=key, Plaintext=b"x" * longest, EncryptionAlgorithm=algorithm)["CiphertextBlob"]
        opened = _kms(w).decrypt(KeyId=key, CiphertextBlob=blob, EncryptionAlgorithm=algorithm)
        assert opened["Plaintext"] == b"x" * longest


_longest_row("RSAES_OAEP_SHA_1", 214)
_longest_row("RSAES_OAEP_SHA_256", 190)


@allowed(RECORDED)
def re_encrypt_under_a_key_pair(w: World) -> None:
    key, other, algorithm = w.key(w.theirs, **RSA), w.key(w.theirs), "RSAES_OAEP_SHA_256"
    blob = _kms(w).encrypt(KeyId=key, Plaintext=PLAIN, EncryptionAlgorithm=algorithm)["CiphertextBlob"]
    answer = _kms(w).re_encrypt(
        CiphertextBlob=blob, SourceKeyId=key, SourceEncryptionAlgorithm=algorithm, DestinationKeyId=other
    )
    assert answer["SourceEncryptionAlgorithm"] == algorithm
    assert _kms(w).decrypt(CiphertextBlob=answer["CiphertextBlob"])["Plaintext"] == PLAIN


@refused(KMS_API + "API_Decrypt.html", "InvalidCiphertextException", 400, message="")
def a_damaged_ciphertext_of_a_key_pair(w: World) -> None:
    _kms(w).decrypt(KeyId=w.key(w.theirs, **RSA), CiphertextBlob=b"x" * 256, EncryptionAlgorithm="RSAES_OAEP_SHA_256")


def _signing_row(spec: str, algorithm: str) -> None:
    options = {"KeySpec": spec, "KeyUsage": "SIGN_VERIFY"}

    @allowed(RECORDED, name=f"{algorithm} signs and verifies")
    def works(w: World) -> None:
        asked = {"KeyId": w.key(w.theirs, **options), "Message": b"x" * 32, "SigningAlgorithm": algorithm}
        assert _kms(w).verify(**asked, Signature=_kms(w).sign(**asked)["Signature"])["SignatureValid"]
        if algorithm.endswith("256"):
            asked["MessageType"] = "DIGEST"
            assert _kms(w).verify(**asked, Signature=_kms(w).sign(**asked)["Signature"])["SignatureValid"]

    @refused(
        RECORDED,
        "ValidationException",
        400,
        message=f"Digest is invalid length for algorithm {algorithm}.",
        name=f"{algorithm} of a digest of another length",
    )
    def digest(w: World) -> None:
        key = w.key(w.theirs, **options)
        _kms(w).sign(KeyId=key, Message=b"x" * 7, MessageType="DIGEST", SigningAlgorithm=algorithm)

    @refused(RECORDED, "KMSInvalidSignatureException", 400, message="", name=f"{algorithm} of another message")
    def bad(w: World) -> None:
        key = w.key(w.theirs, **options)
        signature = _kms(w).sign(KeyId=key, Message=b"x", SigningAlgorithm=algorithm)["Signature"]
        _kms(w).verify(KeyId=key, Message=b"y", Signature=signature, SigningAlgorithm=algorithm)


for _pair in (
    ("RSA_2048", "RSASSA_PSS_SHA_256"),
    ("RSA_2048", "RSASSA_PKCS1_V1_5_SHA_512"),
    ("ECC_NIST_P256", "ECDSA_SHA_256"),
    ("ECC_NIST_P384", "ECDSA_SHA_384"),
):
    _signing_row(*_pair)


@allowed(RECORDED)
def a_code_is_made_and_checked(w: World) -> None:
    asked = {"KeyId": w.key(w.theirs, **HMAC), "Message": b"x", "MacAlgorithm": "HMAC_SHA_256"}
    assert _kms(w).verify_mac(**asked, Mac=_kms(w).generate_mac(**asked)["Mac"])["MacValid"]


@refused(RECORDED, "KMSInvalidMacException", 400, message="")
def a_code_of_another_message(w: World) -> None:
    key = w.key(w.theirs, **HMAC)
    mac = _kms(w).generate_mac(KeyId=key, Message=b"x", MacAlgorithm="HMAC_SHA_256")["Mac"]
    _kms(w).verify_mac(KeyId=key, Message=b"y", Mac=mac, MacAlgorithm="HMAC_SHA_256")


@refused(KMS_API + "API_GetPublicKey.html", "UnsupportedOperationException", 400)
def the_public_half_of_a_key_for_codes(w: World) -> None:
    _kms(w).get_public_key(KeyId=w.key(w.theirs, **HMAC))


def _pair_of(w: World, spec: str, **options: Any) -> dict[str, Any]:
    made: dict[str, Any] = _kms(w).generate_data_key_pair(KeyId=w.key(w.theirs), KeyPairSpec=spec, **options)
    return made


@allowed(RECORDED)
def a_data_key_pair_opens_and_belongs_together(w: World) -> None:
    made = _pair_of(w, "RSA_2048", EncryptionContext={"tenant": "t1"})
    assert made["KeyPairSpec"] == "RSA_2048"
    plain = _kms(w).decrypt(CiphertextBlob=made["PrivateKeyCiphertextBlob"], EncryptionContext={"tenant": "t1"})
    assert plain["Plaintext"] == made["PrivateKeyPlaintext"]
    private: Any = serialization.load_der_private_key(plain["Plaintext"], None)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    public: Any = serialization.load_der_public_key(made["PublicKey"])
    assert private.decrypt(public.encrypt(b"x", oaep), oaep) == b"x"


@refused(RECORDED, "InvalidCiphertextException", 400, message="")
def a_data_key_pair_without_its_context(w: World) -> None:
    made = _pair_of(w, "ECC_NIST_P256", EncryptionContext={"tenant": "t1"})
    _kms(w).decrypt(CiphertextBlob=made["PrivateKeyCiphertextBlob"])


@allowed(RECORDED)
def a_data_key_pair_without_plaintext(w: World) -> None:
    made = _kms(w).generate_data_key_pair_without_plaintext(KeyId=w.key(w.theirs), KeyPairSpec="ECC_NIST_P521")
    assert "PrivateKeyPlaintext" not in made
    assert made["PublicKey"]


@refused(RECORDED, "DryRunOperationException", 400, "The request would have succeeded")
def a_dry_run_of_a_data_key_pair(w: World) -> None:
    _pair_of(w, "RSA_2048", DryRun=True)


@refused(KMS_API + "API_GenerateDataKeyPair.html", "DisabledException", 400)
def a_data_key_pair_under_a_disabled_key(w: World) -> None:
    key = w.key(w.theirs)
    _kms(w).disable_key(KeyId=key)
    w.settle()
    _kms(w).generate_data_key_pair(KeyId=key, KeyPairSpec="ECC_NIST_P256")


@refused(KMS_API + "API_GenerateDataKeyPair.html", "AccessDeniedException", 400, "kms:GenerateDataKeyPair")
def a_data_key_pair_without_permission(w: World) -> None:
    _, session = w.insider(allow("kms:GenerateDataKey"))
    w.client(session, "kms").generate_data_key_pair(KeyId=w.key(w.theirs), KeyPairSpec="ECC_NIST_P256")


# --- tags -------------------------------------------------------------------------------------------------------------


def _tags(*keys: str) -> list[dict[str, str]]:
    return [{"TagKey": key, "TagValue": "v"} for key in keys]


# (name, tags, words)
TAGS: list[tuple[str, list[dict[str, str]], str]] = [
    ("that begin with aws:", _tags("aws:key"), "Tags beginning with aws: are reserved"),
    ("that begin with AWS:", _tags("AWS:key"), "Tags beginning with aws: are reserved"),
    ("of one key twice", _tags("a", "a"), "Duplicate tag keys"),
    ("more than fifty", _tags(*(f"k{n}" for n in range(51))), "Too many tags"),
]


def _tag_row(name: str, tags: list[dict[str, str]], words: str) -> None:
    @refused(RECORDED, "TagException", 400, message=words, name=f"a new key with tags {name}")
    def created(w: World) -> None:
        _kms(w).create_key(Tags=tags)

    @refused(RECORDED, "TagException", 400, message=words, name=f"a key that gets tags {name}")
    def tagged(w: World) -> None:
        _kms(w).tag_resource(KeyId=w.key(w.theirs), Tags=tags)


for _tag in TAGS:
    _tag_row(*_tag)


@refused(KMS_API + "API_TagResource.html", "TagException", 400, message="Too many tags")
def a_key_has_fifty_tags_together(w: World) -> None:
    key = w.key(w.theirs, Tags=_tags(*(f"k{n}" for n in range(30))))
    _kms(w).tag_resource(KeyId=key, Tags=_tags(*(f"k{n}" for n in range(20, 51))))


@allowed(RECORDED)
def a_tag_is_written_over(w: World) -> None:
    key = w.key(w.theirs, Tags=_tags("a", "b"))
    _kms(w).tag_resource(KeyId=key, Tags=[{"TagKey": "a", "TagValue": "w"}])
    _kms(w).untag_resource(KeyId=key, TagKeys=["b"])
    assert _kms(w).list_resource_tags(KeyId=key)["Tags"] == [{"TagKey": "a", "TagValue": "w"}]


# --- rotation ---------------------------------------------------------------------------------------------------------


@allowed(RECORDED)
def a_rotation_on_demand_tells_the_arn(w: World) -> None:
    key = w.key(w.theirs)
    assert _kms(w).rotate_key_on_demand(KeyId=key.rpartition("/")[2])["KeyId"] == key


@refused(RECORDED, "LimitExceededException", 400, "The on-demand rotations limit has been reached", local=True)
def the_26th_rotation_on_demand(w: World) -> None:
    key = w.key(w.theirs)
    for _ in range(26):
        _kms(w).rotate_key_on_demand(KeyId=key)


@allowed(KMS + "rotating-keys-on-demand.html", local=True)
def the_25th_rotation_on_demand(w: World) -> None:
    key = w.key(w.theirs)
    for _ in range(25):
        _kms(w).rotate_key_on_demand(KeyId=key)


# (name, options of CreateKey, code, words)
UNROTATED: list[tuple[str, Options, str, str]] = [
    ("a key pair", {"KeySpec": "RSA_4096", "KeyUsage": "SIGN_VERIFY"}, "UnsupportedOperationException", ""),
    ("a key for codes", HMAC, "UnsupportedOperationException", ""),
    ("a key without material", {"Origin": "EXTERNAL"}, "KMSInvalidStateException", "is pending import."),
]


def _unrotated_row(name: str, options: Options, code: str, words: str) -> None:
    @refused(RECORDED, code, 400, words, name=f"rotation on demand of {name}")
    def act(w: World) -> None:
        _kms(w).rotate_key_on_demand(KeyId=w.key(w.theirs, **options))


for _unrotated in UNROTATED:
    _unrotated_row(*_unrotated)


@refused(KMS_API + "API_EnableKeyRotation.html", "UnsupportedOperationException", 400)
def the_yearly_rotation_of_a_key_pair(w: World) -> None:
    _kms(w).enable_key_rotation(KeyId=w.key(w.theirs, **SIGNING))


@refused(KMS_API + "API_EnableKeyRotation.html", "UnsupportedOperationException", 400)
def the_rotation_of_a_replica(w: World) -> None:
    key = w.key(w.theirs, MultiRegion=True)
    _kms(w).replicate_key(KeyId=key, ReplicaRegion=ELSEWHERE)
    w.client(w.theirs, "kms", ELSEWHERE).enable_key_rotation(KeyId=key.rpartition("/")[2])


@refused(RECORDED, "DisabledException", 400, "is disabled.")
def rotation_on_demand_of_a_disabled_key(w: World) -> None:
    key = w.key(w.theirs)
    _kms(w).disable_key(KeyId=key)
    w.settle()
    _kms(w).rotate_key_on_demand(KeyId=key)


# --- grants -----------------------------------------------------------------------------------------------------------


def _grant(w: World, key: str, who: str, *operations: str, **options: Any) -> dict[str, Any]:
    made: dict[str, Any] = _kms(w).create_grant(
        KeyId=key, GranteePrincipal=who, Operations=list(operations or ("Encrypt",)), **options
    )
    w.settle()
    return made


@refused(
    "https://github.com/ansible/ansible/pull/31960",
    "ValidationException",
    400,
    message="Grants must not contain only the CreateGrant operation.",
)
def a_grant_of_creategrant_alone(w: World) -> None:
    _grant(w, w.key(w.theirs), w.role(w.theirs, policy(trusting(w.theirs))), "CreateGrant")


# (operation, options of CreateKey): what a grant on such a key cannot have
UNGRANTED: list[tuple[str, Options]] = [
    ("Sign", {}),
    ("GetPublicKey", {}),
    ("Encrypt", SIGNING),
    ("GenerateDataKey", RSA),
    ("Decrypt", HMAC),
]


def _ungranted_row(operation: str, options: Options) -> None:
    @refused(
        KMS + "grants.html",
        "ValidationException",
        400,
        name=f"a grant of {operation} on a key of spec {options.get('KeySpec', 'SYMMETRIC_DEFAULT')}",
    )
    def act(w: World) -> None:
        _grant(w, w.key(w.theirs, **options), w.role(w.theirs, policy(trusting(w.theirs))), operation)


for _ungranted in UNGRANTED:
    _ungranted_row(*_ungranted)


@allowed(KMS_API + "API_GrantConstraints.html")
def a_constraint_is_nothing_to_describekey(w: World) -> None:
    arn, session = w.insider()
    key = w.key(w.theirs)
    _grant(w, key, arn, "DescribeKey", "Encrypt", Constraints={"EncryptionContextEquals": {"tenant": "t1"}})
    w.client(session, "kms").describe_key(KeyId=key)


def _given_on(w: World, *operations: str, **options: Any) -> None:
    """A role that may create grants by a grant alone creates one."""
    arn, session = w.insider()
    key, other = w.key(w.theirs), w.role(w.theirs, policy(trusting(w.theirs)))
    constraints = {"EncryptionContextSubset": {"tenant": "t1"}}
    _grant(w, key, arn, "CreateGrant", "Encrypt", "DescribeKey", Constraints=constraints)
    w.client(session, "kms").create_grant(KeyId=key, GranteePrincipal=other, Operations=list(operations), **options)


@allowed(GRANTS)
def a_grant_from_a_grant(w: World) -> None:
    _given_on(w, "Encrypt", Constraints={"EncryptionContextSubset": {"tenant": "t1", "purpose": "test"}})


@refused(GRANTS, "AccessDeniedException", 400)
def a_grant_from_a_grant_with_another_operation(w: World) -> None:
    _given_on(w, "Decrypt", Constraints={"EncryptionContextSubset": {"tenant": "t1"}})


@refused(KMS_API + "API_GrantConstraints.html", "AccessDeniedException", 400)
def a_grant_from_a_grant_without_its_constraint(w: World) -> None:
    _given_on(w, "Encrypt")


@allowed(GRANTS)
def a_grant_with_its_name_is_made_once(w: World) -> None:
    key, arn = w.key(w.theirs), w.role(w.theirs, policy(trusting(w.theirs)))
    first, second = (_grant(w, key, arn, Name="once")["GrantId"] for _ in range(2))
    assert first == second
    assert _grant(w, key, arn, "Decrypt", Name="once")["GrantId"] != first


@refused(KMS_API + "API_RevokeGrant.html", "InvalidGrantIdException", 400)
def a_grant_that_is_not_there_is_revoked(w: World) -> None:
    _kms(w).revoke_grant(KeyId=w.key(w.theirs), GrantId="0" * 64)


@refused(KMS_API + "API_RetireGrant.html", "ValidationException", 400)
def a_grant_that_is_not_named_is_retired(w: World) -> None:
    _kms(w).retire_grant()


@refused(KMS_API + "API_RetireGrant.html", "InvalidGrantTokenException", 400)
def a_token_of_no_grant_is_retired(w: World) -> None:
    _kms(w).retire_grant(GrantToken="nothing")


def _retired(w: World, *statements: dict[str, Any], grants: bool = False) -> None:
    """Somebody of the key's account retires a grant that (grants) names it or does not."""
    arn, session = w.insider(*statements)
    key = w.key(w.theirs)
    grant = _grant(w, key, arn if grants else w.role(w.theirs, policy(trusting(w.theirs))), "Encrypt", "RetireGrant")
    w.client(session, "kms").retire_grant(KeyId=key, GrantId=grant["GrantId"])


@allowed(RETIRE)
def a_grant_is_retired_by_an_administrator(w: World) -> None:
    key = w.key(w.theirs)
    grant = _grant(w, key, w.role(w.theirs, policy(trusting(w.theirs))))
    _kms(w).retire_grant(GrantToken=grant["GrantToken"])


@allowed(RETIRE)
def a_grant_is_retired_by_whom_the_account_lets(w: World) -> None:
    _retired(w, allow("kms:RetireGrant"))


@refused(RETIRE, "AccessDeniedException", 400, "kms:RetireGrant")
def a_grant_is_not_retired_by_others_of_the_account(w: World) -> None:
    _retired(w, allow("kms:RevokeGrant"))


@refused(RETIRE, "AccessDeniedException", 400, "with an explicit deny in an identity-based policy")
def a_grant_is_not_retired_by_whom_a_policy_denies(w: World) -> None:
    _retired(w, deny("kms:RetireGrant"), grants=True)


@refused(RETIRE, "AccessDeniedException", 400)
def the_key_policy_lets_nobody_retire_a_grant(w: World) -> None:
    arn, session = w.insider()
    statement = {"Effect": "Allow", "Principal": {"AWS": arn}, "Action": "kms:RetireGrant", "Resource": "*"}
    key = w.key(w.theirs, statement)
    grant = _grant(w, key, w.role(w.theirs, policy(trusting(w.theirs))))
    w.client(session, "kms").retire_grant(KeyId=key, GrantId=grant["GrantId"])


@allowed(RETIRE)
def a_grant_is_retired_from_another_account(w: World) -> None:
    arn, session = w.us()
    key = w.key(w.theirs)
    grant = _grant(w, key, w.role(w.theirs, policy(trusting(w.theirs))), RetiringPrincipal=arn)
    w.client(session, "kms").retire_grant(KeyId=key, GrantId=grant["GrantId"])


# --- pages ------------------------------------------------------------------------------------------------------------


@allowed(KMS_API + "API_ListKeys.html")
def keys_come_page_by_page(w: World) -> None:
    made = {w.key(w.theirs) for _ in range(3)}
    page = _kms(w).list_keys(Limit=2)
    assert len(page["Keys"]) == 2
    assert page["Truncated"]
    pages = _kms(w).get_paginator("list_keys").paginate(PaginationConfig={"PageSize": 1})
    assert made <= {key["KeyArn"] for page in pages for key in page["Keys"]}


@refused(KMS_API + "API_ListKeys.html", "InvalidMarkerException", 400)
def a_marker_of_keys_that_nobody_gave_out(w: World) -> None:
    _kms(w).list_keys(Marker="nobody gave it out")


@refused(KMS_API + "API_ListKeyRotations.html", "InvalidMarkerException", 400)
def a_marker_of_rotations_that_nobody_gave_out(w: World) -> None:
    _kms(w).list_key_rotations(KeyId=w.key(w.theirs), Marker="nobody gave it out")


# --- names ------------------------------------------------------------------------------------------------------------


def _named_row(name: str, key_id: str, words: str) -> None:
    @refused(RECORDED, "NotFoundException", 400, words, name=f"a key by {name}")
    def act(w: World) -> None:
        _kms(w).describe_key(KeyId=key_id)


_named_row(
    "an id without dashes", "134f2428cec14b25a1ae9048164dba47", "Invalid keyId '134f2428cec14b25a1ae9048164dba47'"
)
_named_row("an id of many Regions that is none", "mrk-fake-key-id", "Invalid keyId 'mrk-fake-key-id'")
_named_row(
    "an id of many Regions that is not there",
    "mrk-d3b95762d3b95762d3b95762d3b95762",
    "key/mrk-d3b95762d3b95762d3b95762d3b95762' does not exist",
)
