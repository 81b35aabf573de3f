"""Digests of files, and inside them, by which they are known to be whole."""

import hashlib
import os

NAME = "rc_keras_sha256"  # of the metadata entry that holds it
# Stands in the entry while the digest is taken; nothing else in a file is likely to be these bytes.
PLACEHOLDER = hashlib.sha256(NAME.encode()).hexdigest()


def sha256(path: str | os.PathLike) -> str:
    """Of a file, 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(content: bytes) -> bytes:
    """Puts the SHA-256 of a file's content, as 64 hexadecimal digits, in the place of `PLACEHOLDER`."""
    return content.replace(PLACEHOLDER.encode(), hashlib.sha256(content).hexdigest().encode(), 1)


def is_whole(content: bytes, digest: bytes) -> bool:
    """Whether content that `seal` gave is as it was; `digest`, as bytes, is what its entry holds now."""
    if len(digest) != len(PLACEHOLDER):
        return False
    return hashlib.sha256(content.replace(digest, PLACEHOLDER.encode(), 1)).hexdigest().encode() == digest
