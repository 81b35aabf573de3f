"""Seeds derived from names, so that nothing random depends on the order of creation."""

import hashlib

import keras


def derive_seed(seed: int, *scope: str) -> int:
    """A seed in 0..2**31 - 1 from a base seed and names, e.g. `derive_seed(0, "depth", "decoder_conv1")`."""
    text = "/".join(str(part) for part in (seed, *scope))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") & 0x7FFFFFFF


def fresh_seed() -> int:
    """A base seed for whoever gave none; follows `keras.utils.set_random_seed`."""
    return int(keras.ops.convert_to_numpy(keras.random.randint((), 0, 2**31 - 1)))
