"""`ordered_map` keeps the order, little in memory, and each error at its place."""

import itertools
import threading
import time

import pytest

from rc_keras.zoo.datasets.ordered_map import ordered_map


def test_the_order_is_kept():
    def slow_first(item):
        time.sleep(0.002 * (item % 3 == 0))
        return item * item

    assert list(ordered_map(slow_first, range(50), workers=4)) == [i * i for i in range(50)]
    assert list(ordered_map(str, [])) == []


def test_work_is_shared_by_threads():
    both = threading.Barrier(2, timeout=10)
    assert len(list(ordered_map(lambda _: both.wait(), range(4), workers=2))) == 4


def test_few_results_are_ahead_of_what_was_taken():
    read = itertools.count()
    results = ordered_map(lambda item: item, read, workers=3)
    for expected in range(100):
        assert next(results) == expected
    results.close()
    assert next(read) == 100 + 2 * 3 - 1


def test_an_error_comes_at_its_place():
    results = ordered_map(lambda item: 1 // item, [1, 1, 0, 1], workers=2)
    assert [next(results), next(results)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []


def test_closing_ends_the_threads():
    before = threading.active_count()
    results = ordered_map(lambda item: item, range(1000), workers=3)
    next(results)
    assert threading.active_count() > before
    results.close()
    assert threading.active_count() == before


def test_no_workers_are_refused():
    with pytest.raises(ValueError, match="workers=0"):
        next(ordered_map(str, [1], workers=0))
