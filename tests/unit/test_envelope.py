"""Wrapped data keys: the byte layout, its known answers, and that nothing else opens them."""

import copy
import pickle
import traceback
import uuid

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from keys.datakeys import envelope
from keys.errors import BlobUnreadable, ContextInvalid

BRANCH_KEY = envelope.Secret(bytes(range(32)))
KEY_ID = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
TENANT = "7d4f3a52-0b0e-4f1e-9a55-0a3e5a0f7c11"
SALT = bytes(range(100, 132))
PLAINTEXT = bytes(range(200, 232))

NO_CONTEXT = envelope.encode_context(TENANT, {})

# (context, wrapped key): docs/wrapped-keys.md repeats them, and they open for ever.
KNOWN_ANSWERS: list[tuple[dict[str, str], str]] = [
    (
        {},
        (
            "0100112233445566778899aabbccddeeff6465666768696a6b6c6d6e6f707172"
            "737475767778797a7b7c7d7e7f808182830773c14e24a7240781cb2f54d7596f"
            "b5b200e8452e7669bf0125e3f3678e821551366099f26b992f3f37fc005d9964"
            "3c045091dfb7799cb74c271b0e179b297fb5d5fce518447bfa4ab114e213a3ea4e"
        ),
    ),
    (
        {"object": "invoice-17", "größe": "XL"},
        (
            "0100112233445566778899aabbccddeeff6465666768696a6b6c6d6e6f707172"
            "737475767778797a7b7c7d7e7f80818283f50618505fc6c20c28a50df39c06fa"
            "f434ce332d739ff8e2665a7543df4f528f25719b064ff9693c7b87ecf1642209"
            "46325018e2b2f09f3242caf62e48a6345adca850ed147a2983bf88c2b99234201e"
        ),
    ),
]


@pytest.mark.parametrize(("context", "wrapped"), KNOWN_ANSWERS)
def test_known_answers(context: dict[str, str], wrapped: str) -> None:
    encoded = envelope.encode_context(TENANT, context)
    assert envelope.wrap(BRANCH_KEY, KEY_ID, encoded, PLAINTEXT, salt=SALT).hex() == wrapped
    assert envelope.unwrap(BRANCH_KEY, encoded, bytes.fromhex(wrapped)) == PLAINTEXT


def test_the_layout_is_the_documented_one() -> None:
    blob = envelope.wrap(BRANCH_KEY, KEY_ID, NO_CONTEXT, PLAINTEXT, salt=SALT)
    assert (len(blob), blob[0], blob[1:17], blob[17:49]) == (129, 1, KEY_ID.bytes, SALT)
    assert envelope.branch_key_id(blob) == KEY_ID


def test_every_flipped_bit_is_refused() -> None:
    context = envelope.encode_context(TENANT, {"a": "b"})
    blob = envelope.generate(BRANCH_KEY, KEY_ID, context).wrapped
    for bit in range(len(blob) * 8):
        damaged = bytearray(blob)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BlobUnreadable):
            envelope.unwrap(BRANCH_KEY, context, bytes(damaged))


@given(st.binary(max_size=300))
def test_foreign_bytes_are_refused(blob: bytes) -> None:
    with pytest.raises(BlobUnreadable):
        envelope.unwrap(BRANCH_KEY, NO_CONTEXT, blob)


contexts = st.dictionaries(
    st.text(min_size=1, max_size=8).filter(lambda name: name != "tenant"), st.text(max_size=8), max_size=6
)


@given(st.lists(st.one_of(st.just({"object": "a"}), contexts)))
def test_contexts_one_after_another_are_encoded_as_each_alone(items: list[dict[str, str]]) -> None:
    assert list(map(envelope.encoder(TENANT), items)) == [envelope.encode_context(TENANT, item) for item in items]


@given(contexts, contexts)
def test_only_the_same_context_opens(made_with: dict[str, str], opened_with: dict[str, str]) -> None:
    right, other = (envelope.encode_context(TENANT, context) for context in (made_with, opened_with))
    key = envelope.generate(BRANCH_KEY, KEY_ID, right)
    assert envelope.unwrap(BRANCH_KEY, right, key.wrapped) == key.plaintext
    if made_with != opened_with:
        with pytest.raises(BlobUnreadable):
            envelope.unwrap(BRANCH_KEY, other, key.wrapped)


def test_another_tenant_or_branch_key_does_not_open() -> None:
    blob = envelope.generate(BRANCH_KEY, KEY_ID, NO_CONTEXT).wrapped
    for branch_key, tenant in ((BRANCH_KEY, str(uuid.uuid4())), (envelope.Secret(bytes(32)), TENANT)):
        with pytest.raises(BlobUnreadable):
            envelope.unwrap(branch_key, envelope.encode_context(tenant, {}), blob)


@pytest.mark.parametrize(
    "context",
    [
        {f"n{number}": "" for number in range(17)},
        {"a": "b" * 1024},
        {"": "x"},
        {"tenant": "somebody else"},
        {"ü" * 512: "x"},
    ],
)
def test_a_context_out_of_bounds_is_refused(context: dict[str, str]) -> None:
    with pytest.raises(ContextInvalid):
        envelope.encode_context(TENANT, context)


def test_the_tenant_may_be_repeated() -> None:
    assert envelope.encode_context(TENANT, {"tenant": TENANT}) == envelope.encode_context(TENANT, {})


def test_plaintext_is_in_no_repr() -> None:
    key = envelope.generate(BRANCH_KEY, KEY_ID, NO_CONTEXT)
    assert repr(key.plaintext) not in repr(key)


def test_a_secret_shows_in_no_form_and_can_be_wiped() -> None:
    secret = envelope.Secret(b"canary-canary-canary-canary-cana")
    assert "canary" not in f"{secret!r} {secret!s} {[secret]}"
    for copied in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            copied(secret)
    material = secret.reveal()
    secret.wipe()
    assert material == bytes(32)


def test_a_traceback_with_locals_shows_no_key() -> None:
    secret = envelope.Secret(b"canary-canary-canary-canary-cana")
    blob = bytearray(envelope.generate(secret, KEY_ID, NO_CONTEXT).wrapped)
    for place in (20, 60, 100):  # salt, commitment, ciphertext: each another way out of the function
        damaged = bytes(blob[:place] + bytes([blob[place] ^ 1]) + blob[place + 1 :])
        try:
            envelope.unwrap(secret, NO_CONTEXT, damaged)
        except BlobUnreadable as error:
            said = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
            assert "derived = _Derived()" in said
            assert "canary" not in said


# --- key commitment -------------------------------------------------------------------------------------------------
# AES-GCM commits to no key: whoever knows two keys makes one ciphertext that opens under both (Albertini et al.,
# 2022, section 3).


def _times(x: int, y: int) -> int:
    """Multiply in GF(2^128) as GCM does (NIST SP 800-38D, 6.3)."""
    product, v = 0, y
    for bit in range(127, -1, -1):
        if x >> bit & 1:
            product ^= v
        v = v >> 1 ^ (0xE1 << 120 if v & 1 else 0)
    return product


def _inverse(x: int) -> int:
    result, power = 1 << 127, x  # x^(2^128 - 2)
    for _ in range(127):
        power = _times(power, power)
        result = _times(result, power)
    return result


def _ghash(h: int, blocks: list[int]) -> int:
    y = 0
    for block in blocks:
        y = _times(y ^ block, h)
    return y


def _block(key: bytes, block: bytes) -> int:
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # one block, to build GCM by hand
    return int.from_bytes(encryptor.update(block) + encryptor.finalize())


def _opens_under_both(one: bytes, two: bytes, aad: bytes) -> bytes:
    """Return 32 bytes of ciphertext and a tag that AES-GCM takes under both keys, with our nonce."""
    padded = aad + bytes(-len(aad) % 16)
    a = [int.from_bytes(padded[at : at + 16]) for at in range(0, len(padded), 16)]
    first, lengths = int.from_bytes(bytes(range(16))), (len(aad) * 8) << 64 | 256
    h = [_block(key, bytes(16)) for key in (one, two)]
    s = [_block(key, envelope.NONCE + b"\0\0\0\1") for key in (one, two)]
    rest = [_ghash(x, [*a, first, 0, lengths]) ^ y for x, y in zip(h, s, strict=True)]
    second = _times(rest[0] ^ rest[1], _inverse(_times(h[0], h[0]) ^ _times(h[1], h[1])))
    tag = _ghash(h[0], [*a, first, second, lengths]) ^ s[0]
    return first.to_bytes(16) + second.to_bytes(16) + tag.to_bytes(16)


def test_a_blob_that_opens_under_two_keys_opens_under_the_committed_one_only() -> None:
    other = envelope.Secret(bytes(range(50, 82)))
    ours, theirs = (envelope._derive(key, SALT, NO_CONTEXT) for key in (BRANCH_KEY, other))
    header = envelope.HEADER.pack(envelope.VERSION, KEY_ID.bytes, SALT, ours.commitment)
    ciphertext = _opens_under_both(ours.wrapping_key, theirs.wrapping_key, header + NO_CONTEXT)
    opened = [
        AESGCM(derived.wrapping_key).decrypt(envelope.NONCE, ciphertext, header + NO_CONTEXT)
        for derived in (ours, theirs)
    ]
    assert opened[0] != opened[1]  # the blob is real: GCM alone takes both
    assert envelope.unwrap(BRANCH_KEY, NO_CONTEXT, header + ciphertext) == opened[0]
    with pytest.raises(BlobUnreadable):
        envelope.unwrap(other, NO_CONTEXT, header + ciphertext)
