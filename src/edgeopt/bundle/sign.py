"""Ed25519 (RFC 8032) signatures of a bundle's manifest, whose digests stand for every other file.

manifest.sig is the 64 bytes of the signature of manifest.json as it is, and keys are PEM files, so that openssl makes
and checks them too.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from edgeopt.bundle.manifest import SIGNATURE
from edgeopt.support.errors import bad_input
from edgeopt.support.installation import install

LENGTH = 64


def make_key(path: Path) -> Path:
    """Write a new private key, readable by its owner alone, and the public one to `path`.pub; returns that.

    Raises InputError E141 where one of the files is there or cannot be written.
    """
    serialization, keys = _library()
    key = keys.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    beside = path.with_name(path.name + ".pub")
    try:
        for file, data, mode in ((path, private, 0o600), (beside, public, 0o644)):
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as out:
                out.write(data)
    except OSError as error:
        help = (
            "keys are never overwritten: give another name"
            if isinstance(error, FileExistsError)
            else "give a file in a folder of your own"
        )
        raise bad_input("E141", f"the key {error.filename} cannot be written: {error.strerror}", help=help) from None
    return beside


def sign(key: Path, manifest: bytes) -> bytes:
    """The signature by the private key in that file. Raises InputError E141."""
    serialization, keys = _library()
    data = _read(key)
    if os.name == "posix" and stat.S_IMODE(key.stat().st_mode) & 0o077:
        raise bad_input("E141", f"others may read the private key {key}", help=f"chmod 600 {key}")
    try:
        loaded = serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError) as error:  # TypeError: it is encrypted
        raise _no_key(key, "private", error) from None
    if not isinstance(loaded, keys.Ed25519PrivateKey):
        raise _no_key(key, "private", "another kind")
    made: bytes = loaded.sign(manifest)
    return made


def check(key: Path, manifest: bytes, signature: bytes | None) -> None:
    """Raises InputError E141 unless the manifest was signed with the private half of the public key in that file."""
    serialization, keys = _library()
    from cryptography.exceptions import InvalidSignature

    try:
        loaded = serialization.load_pem_public_key(_read(key))
    except ValueError as error:
        raise _no_key(key, "public", error) from None
    if not isinstance(loaded, keys.Ed25519PublicKey):
        raise _no_key(key, "public", "another kind")
    if signature is None:
        raise bad_input(
            "E141",
            f"the bundle is refused: it has no {SIGNATURE}, and --key asks for one",
            help="get a bundle that was made with `edgeopt bundle RUN --sign KEY`",
        )
    try:
        loaded.verify(signature, manifest)
    except InvalidSignature:
        raise bad_input(
            "E141",
            f"the bundle is refused: {SIGNATURE} was not made with the key {key}",
            help="check the key, or get the bundle again",
        ) from None


def _read(key: Path) -> bytes:
    try:
        with key.open("rb") as file:
            return file.read(65536)
    except OSError as error:
        raise bad_input(
            "E141",
            f"the key {key} cannot be read: {error.strerror}",
            help="`edgeopt bundle keygen KEY` makes KEY and KEY.pub",
        ) from None


def _no_key(key: Path, kind: str, why: object) -> Exception:
    text = " ".join(str(why).split())[:100]
    return bad_input(
        "E141",
        f"{key} is no {kind} Ed25519 key in PEM without a passphrase: {text}",
        help="`edgeopt bundle keygen KEY` makes KEY and KEY.pub",
    )


def _library() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise bad_input("E141", "signatures need the package cryptography", help=install("sign")) from None
    return serialization, ed25519
