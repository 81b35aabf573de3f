"""Cells whose trained models are measured for what they cost."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Any

from rc_keras.zoo.compare import costs
from rc_keras.zoo.compare.cells import Cell


@dataclasses.dataclass(frozen=True)
class CostedCell(Cell):
    """A cell that ends with `costs.json`; what was trained before costs were asked for is not trained again."""

    def is_finished(self) -> bool:
        return super().is_finished() and (self.folder / costs.FILE).exists()

    def run(self, flags: Sequence[str]) -> None:
        if not super().is_finished():
            super().run(flags)
        self.start("rc_keras.zoo.compare.costs", [])

    def costs(self) -> dict[str, Any]:
        """What `measure_costs` answered, of a finished cell."""
        return json.loads((self.folder / costs.FILE).read_text(encoding="utf-8"))


def read_costs(cells: Iterable[Cell]) -> dict[str, list[dict[str, Any]]]:
    """The costs of finished cells that have some, `{row of the table: [costs of each seed]}`."""
    costs: dict[str, list[dict[str, Any]]] = {}
    for cell in cells:
        if isinstance(cell, CostedCell):
            costs.setdefault(cell.title, []).append(cell.costs())
    return costs
