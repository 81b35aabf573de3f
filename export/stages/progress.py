"""A printed line for each stage."""

import contextlib
import time
from collections.abc import Iterator


@contextlib.contextmanager
def stage(title: str | None, verbose: bool) -> Iterator[None]:
    """Prints a title as a stage begins, and then how long it took; nothing without one, or unless `verbose`."""
    prints = verbose and title is not None
    if prints:
        print(f"{title} …", end=" ", flush=True)
    start = time.perf_counter()
    yield
    if prints:
        print(f"{time.perf_counter() - start:.1f} s", flush=True)
