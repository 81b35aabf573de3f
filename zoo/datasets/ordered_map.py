"""A map over threads that keeps the order and little in memory."""

import collections
import concurrent.futures
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def ordered_map(
    function: Callable[[_Item], _Result], items: Iterable[_Item], workers: int | None = None
) -> Iterator[_Result]:
    """Yields `function(item)` for every item, in the items' order, computed by a few threads.

    At most `2 * workers` results are started and not yet taken, so memory does not grow with the
    number of items. An error is raised where its result would have come. Closing the generator
    drops what has not been started and waits for the rest.

    Args:
        function: called with one item, in several threads at once.
        items: any iterable. It is read in the caller's thread, as far as needed.
        workers: number of threads, at least 1. None: one for each processor, at most 8.

    Yields:
        The results, first item first.

    Raises:
        ValueError: if `workers` is below 1, at the first result asked for.

    Example:

    >>> list(ordered_map(len, ["a", "bb", "ccc"]))
    [1, 2, 3]
    """
    workers = min(os.cpu_count() or 1, 8) if workers is None else workers
    if workers < 1:
        raise ValueError(f"`workers` must be at least 1. Received: workers={workers}")
    pool = concurrent.futures.ThreadPoolExecutor(workers)
    started: collections.deque[concurrent.futures.Future[_Result]] = collections.deque()
    try:
        for item in items:
            started.append(pool.submit(function, item))
            if len(started) == 2 * workers:
                yield started.popleft().result()
        while started:
            yield started.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
