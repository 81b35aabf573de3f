"""The presets that have a name."""

import dataclasses
import os

from rc_keras.files import manifest
from rc_keras.files.manifest import Entry


@dataclasses.dataclass(frozen=True)
class PublishedPreset:
    """An entry of `PRESETS`.

    The preset lies beside this file, in `packaged/<name>/`, as `MultiTaskModel.save_to_preset` writes it: the texts in
    any case, `manifest.json` with lengths and digests of all files among them, and the weights as far as the package
    has room for them.

    Attributes:
        description: one line.
        licence: SPDX identifier, of the weights.
        url: of the folder with the files that the package lacks, under the names that the manifest has; `None`: it
            lacks none.
    """

    description: str
    licence: str
    url: str | None = None


PRESETS: dict[str, PublishedPreset] = {
    "rooms": PublishedPreset("A small ResNet and DeepLabv3+ on rendered rooms of 128x128 pixels.", "Apache-2.0"),
}

PACKAGED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "packaged")


def packaged_folder(name: str) -> str:
    """The folder of a published preset in the package, which may lack weights."""
    return os.path.join(PACKAGED, name)


def published_files(name: str) -> dict[str, Entry]:
    """`{file: its length and sha256}` of a published preset."""
    folder = packaged_folder(name)
    files = manifest.read(folder)
    if files is None:
        raise FileNotFoundError(f"{os.path.join(folder, manifest.NAME)} is missing: install rc_keras again")
    return files
