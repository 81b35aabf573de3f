"""What a row of a table trains where that is more than a method: fields of the recipe, and a run to start from."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from rc_keras.zoo.compare.cells import Cell
from rc_keras.zoo.recipes import Recipe

DONOR = "<donor>"  # in the fields of a variant: the path of its donor's trained model


@dataclasses.dataclass(frozen=True)
class Variant:
    """A row of a table.

    Attributes:
        name: of the row, and of the folder of its cells.
        fields: `{field of the Recipe: value}`, over what all rows share; `DONOR` for the model of `donor`.
        tasks: names of the tasks that it trains; `None`: all of the comparison.
        donor: the run that comes first, with the same seed; the row starts from its tasks and trains them again.
    """

    name: str
    fields: Mapping[str, Any] = dataclasses.field(hash=False)
    tasks: tuple[str, ...] | None = None
    donor: "Variant | None" = None

    def cell(self, folder: pathlib.Path, recipe: Recipe, seed: int, kind: type[Cell] = Cell) -> Cell:
        """The cell of a seed.

        Args:
            folder: of all cells; it gets `<name>/seed<seed>`.
            recipe: what all rows share.
            seed: of the run.
            kind: class of the cell.
        """
        tasks = self.tasks or recipe.tasks
        values = dict(self.fields)
        if self.donor is not None:
            donor = self.donor.cell(folder, recipe, seed)
            path = str((donor.folder / "model.keras").resolve())
            values = {name: path if value == DONOR else value for name, value in values.items()}
        if not set(tasks) <= set(recipe.tasks):
            raise ValueError(
                f"`--tasks` must hold {', '.join(tasks)} for {self.name!r}. Received: --tasks={','.join(recipe.tasks)}"
            )
        own = dataclasses.replace(recipe, tasks=tasks, seed=seed, **values)
        return kind(folder / self.name / f"seed{seed}", own, self.name)


_SEMSEG = Variant("rcm_semseg", {"method": "rcm"}, tasks=("semseg",))


def _rcm(name: str, donor: Variant | None = None, **fields: Any) -> Variant:
    return Variant(name, {"method": "rcm", **fields}, donor=donor)


# Cheaper tasks: accuracy against cost. A row is a line here; what it says, `Recipe` has as a field.
FRONTIER = (
    Variant("single_task", {"method": "single_task"}),
    _rcm("rcm_warm", _SEMSEG, add_to=DONOR, init_from="semseg"),
    _rcm("energy_90", response_energy=0.9),
    _rcm("decoder_bank", _SEMSEG, decoder_bank=DONOR),
    _rcm("decoder_bank_90", _SEMSEG, decoder_bank=DONOR, response_energy=0.9),
    _rcm("decoder_bank_90_stages_2", _SEMSEG, decoder_bank=DONOR, response_energy=0.9, shared_stages=2),
    _rcm("rcm"),
    _rcm("energy_95", response_energy=0.95),
    _rcm("stages_2", shared_stages=2),
    Variant("multi_task", {"method": "multi_task"}),
    _rcm("energy_99", response_energy=0.99),
    _rcm("energy_80", response_energy=0.8),
)


def plan_variants(
    folder: str | os.PathLike,
    recipe: Recipe,
    variants: Sequence[Variant],
    seeds: Mapping[str, Sequence[int]],
    kind: type[Cell] = Cell,
) -> tuple[dict[str, Cell], dict[str, Cell]]:
    """The cells of a table, every row once before the second seeds, and those that rows start from.

    Args:
        folder: of the cells.
        recipe: the `Recipe` that all share.
        variants: the rows.
        seeds: `{name of the row: (seed, …)}`.
        kind: class of the cells.

    Returns:
        `(donors, cells)`, each `{name: Cell}`.
    """
    donors: dict[str, Cell] = {}
    cells: dict[str, Cell] = {}
    for turn in range(max(map(len, seeds.values()))):
        for variant in variants:
            if turn >= len(seeds[variant.name]):
                continue
            seed = seeds[variant.name][turn]
            if variant.donor is not None:
                donor = variant.donor.cell(pathlib.Path(folder), recipe, seed)
                donors[f"{variant.donor.name}, seed {seed}"] = donor
            cells[f"{variant.name}, seed {seed}"] = variant.cell(pathlib.Path(folder), recipe, seed, kind)
    return donors, cells
