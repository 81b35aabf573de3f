"""Runs cells one after the other."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from rc_keras.zoo.compare.cells import Cell, CellError

_Name = TypeVar("_Name")


def run_cells(cells: Mapping[str, Cell], flags: Sequence[str], after_each: Callable[[], object]) -> dict[str, str]:
    """Runs the cells that are not finished, each in a process of its own; one that fails does not stop the others.

    Prints a line for each.

    Args:
        cells: `{name: Cell}`, in order.
        flags: see `Cell.run`.
        after_each: function without arguments, called after each cell that was run.

    Returns:
        `{name: why}` of the cells that failed.
    """
    failed = {}
    for number, (name, cell) in enumerate(cells.items(), 1):
        print(f"[{number}/{len(cells)}] {name} … ", end="", flush=True)
        begin = time.perf_counter()
        try:
            if cell.is_finished():
                print("there already", flush=True)
                continue
            cell.run(flags)
        except CellError as error:
            failed[name] = str(error)
            print(f"failed: {error}", flush=True)
            continue
        print(f"{(time.perf_counter() - begin) / 60:.1f} min", flush=True)
        after_each()
    return failed


def finished_cells(cells: Mapping[_Name, Cell]) -> dict[_Name, Cell]:
    """Those of `{name: Cell}` that have results; folders of other recipes have none."""

    def finished(cell: Cell) -> bool:
        try:
            return cell.is_finished()
        except CellError:
            return False

    return {name: cell for name, cell in cells.items() if finished(cell)}
