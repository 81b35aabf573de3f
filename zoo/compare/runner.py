"""Runs cells one after the other."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from rc_keras.zoo.compare.cells import Cell, CellError
from rc_keras.zoo.compare.watch import CellLine, watched

_Name = TypeVar("_Name")


def run_cells(cells: Mapping[str, Cell], flags: Sequence[str], after_each: Callable[[], object]) -> dict[str, str]:
    """Runs the cells that are not finished, each in a process of its own; one that fails does not stop the others.

    Prints a line for each, which on a terminal follows the cell, and elsewhere is told anew every minute.

    Args:
        cells: `{name: Cell}`, in order.
        flags: see `Cell.run`.
        after_each: function without arguments, called after each cell that was run.

    Returns:
        `{name: why}` of the cells that failed.
    """
    failed: dict[str, str] = {}
    seconds: list[float] = []
    there = finished_cells(cells).keys()
    for number, (name, cell) in enumerate(cells.items(), 1):
        line = CellLine(f"[{number}/{len(cells)}] {name} … ")
        begin = time.perf_counter()
        try:
            if cell.is_finished():
                line.end("there already")
                continue
            cells_after = len(set(list(cells)[number:]) - there)
            with watched(line, cell.log, cells_after, seconds):
                cell.run(flags)
        except CellError as error:
            failed[name] = str(error)
            line.end(f"failed: {error}")
            continue
        seconds.append(time.perf_counter() - begin)
        line.end(f"{seconds[-1] / 60:.1f} min")
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
