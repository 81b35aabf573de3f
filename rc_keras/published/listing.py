"""The list of published presets."""

import dataclasses

from rc_keras.published.local_folder import cache_folder, missing_files
from rc_keras.published.needed_files import needed_files
from rc_keras.published.registry import PRESETS, packaged_folder, published_files
from rc_keras.storage import preset


@dataclasses.dataclass(frozen=True)
class PresetInfo:
    """What is known of a published preset.

    Attributes:
        name: by which `rc_keras.from_preset` loads it.
        tasks: names of its tasks.
        parameters: number of all of them, the bank and the tasks.
        bytes: of its files.
        licence: SPDX identifier, of the weights.
        description: one line.
        where: `"in the package"`, `"downloaded"` or `"to download"`.
    """

    name: str
    tasks: tuple[str, ...]
    parameters: int
    bytes: int
    licence: str
    description: str
    where: str


class PresetList(tuple[PresetInfo, ...]):
    """Published presets; printed, a table."""

    def __repr__(self) -> str:
        if not self:
            return "No presets are published with this version of rc_keras."
        rows = [("name", "parameters", "size", "licence", "where", "tasks")]
        for info in self:
            size, tasks = f"{info.bytes / 1e6:.1f} MB", ", ".join(info.tasks)
            rows.append((info.name, f"{info.parameters:,}", size, info.licence, info.where, tasks))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = []
        for row, note in zip(rows, ("", *(info.description for info in self)), strict=True):
            cells = [
                c.rjust(w) if i in (1, 2) else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  ".join(cells).rstrip())
            lines += [f"  {note}"] if note else []
        return "\n".join(lines)


def presets() -> PresetList:
    """The presets that `rc_keras.from_preset` loads by name; needs no network.

    Example:

    >>> print(rc_keras.presets())
    >>> [preset.name for preset in rc_keras.presets() if "depth" in preset.tasks]

    Returns:
        A tuple of `PresetInfo`, by name, whose text is a table.
    """
    return PresetList(_info(name) for name in sorted(PRESETS))


def _info(name: str) -> PresetInfo:
    folder, files = packaged_folder(name), published_files(name)
    content, metadata = (preset.read_json(f"{folder}/{file}") for file in (preset.CONFIG, preset.METADATA))
    if not missing_files(folder, files, files):
        where = "in the package"
    else:
        is_here = not missing_files(cache_folder(name), files, needed_files(files, None))
        where = "downloaded" if is_here else "to download"
    return PresetInfo(
        name=name,
        tasks=tuple(content["tasks"]),
        parameters=metadata["parameters"]["total"],
        bytes=sum(int(entry["bytes"]) for entry in files.values()),
        licence=PRESETS[name].licence,
        description=PRESETS[name].description,
        where=where,
    )
