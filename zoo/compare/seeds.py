"""Which seeds each method is run with."""

from collections.abc import Sequence

from rc_keras.base.names import unknown_name


def parse_seeds(text: str, methods: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """The seeds of each method, as spelt on the command line.

    Args:
        text: entries between semicolons, each `<method>,<method>,…:<seed>,<seed>,…`; `*` stands for all methods that
            are not named, and may be left out together with its colon.
        methods: names of the methods.

    Returns:
        `{method: (seed, …)}` in the order of `methods`.

    Raises:
        ValueError: if an entry is no such thing, names a method twice or one that is not compared, or if a method is
            left without seeds.

    Example:

    >>> parse_seeds("rcm:0,1; *:0", ["rc", "rcm"])
    {'rc': (0,), 'rcm': (0, 1)}
    """
    named: dict[str, tuple[int, ...]] = {}
    for entry in text.split(";"):
        names, _, numbers = entry.rpartition(":")
        try:
            seeds = tuple(int(number) for number in numbers.split(","))
        except ValueError:
            raise ValueError(
                f"`--seeds` must be like 0,1 or rcm,single_task:0,1;*:0. Received: --seeds={text}"
            ) from None
        if len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise ValueError(f"Seeds must be different whole numbers, none negative. Received: --seeds={text}")
        for name in [name.strip() for name in (names or "*").split(",")]:
            if name != "*" and name not in methods:
                raise unknown_name("method", name, methods)
            if name in named:
                raise ValueError(f"Seeds must be given once for each method. Received: {name!r} twice in {text!r}")
            named[name] = seeds
    for name in methods:
        if name not in named and "*" not in named:
            raise ValueError(f"`--seeds` must have seeds for method {name!r}, or for `*`. Received: --seeds={text}")
    return {name: named[name if name in named else "*"] for name in methods}
