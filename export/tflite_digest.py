"""A digest inside a file, by which it is known to be whole."""

import hashlib

NAME = "rc_keras_sha256"  # of the metadata entry that holds it
# Stands in the entry while the digest is taken; nothing else in a file is likely to be these 32 bytes.
PLACEHOLDER = hashlib.sha256(NAME.encode()).digest()


def seal(content):
    """Puts the SHA-256 of a file's content in the place of `PLACEHOLDER`."""
    return content.replace(PLACEHOLDER, hashlib.sha256(content).digest(), 1)


def is_whole(content, digest):
    """Whether content that `seal` gave is as it was; `digest` is what its entry holds now."""
    return hashlib.sha256(content.replace(digest, PLACEHOLDER, 1)).digest() == digest
