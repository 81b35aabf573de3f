"""The two archives called PASCAL_MT: the same labels, in other folders."""

from collections.abc import Sequence
from typing import TypeAlias

from rc_keras.zoo.datasets.file_path import FilePath

# What is looked for: the folders it may be in, the preferred first, and the suffix of its files.
Layout: TypeAlias = dict[str, tuple[tuple[str, ...], str]]
RCM: Layout = {
    "image": (("JPEGImages",), "jpg"),
    "context": (("Context/trainval",), "mat"),
    "parts": (("PascalParts",), "mat"),
    "semseg": (("SemanticSegmentation/Context",), "png"),
    "normals": (("NormalsDistill",), "png"),
    "saliency": (("SaliencyDistill",), "png"),
}
ASTMT: Layout = {
    "image": (("JPEGImages",), "jpg"),
    "context": (("pascal-context/trainval",), "mat"),
    "parts": (("human_parts",), "mat"),
    "semseg": (("semseg/VOC12", "semseg/pascal-context"), "png"),
    "normals": (("normals_distill",), "png"),
    "saliency": (("sal_distill",), "png"),
}


def find_layout(root: FilePath) -> Layout:
    """Tells the layouts apart by the folder of the normals.

    Args:
        root: path of the extracted folder `PASCAL_MT`.

    Returns:
        `RCM` or `ASTMT`.

    Raises:
        FileNotFoundError: if there is no such folder, or another of the layout is missing.
        ValueError: if there are both.
    """
    found = [layout for layout in (RCM, ASTMT) if (root / layout["normals"][0][0]).is_dir()]
    if not found:
        raise FileNotFoundError(f"`{root}` must hold the folder `NormalsDistill` (RCM) or `normals_distill` (ASTMT).")
    if len(found) > 1:
        raise ValueError(f"`{root}` must hold `NormalsDistill` or `normals_distill`. Received: both, from two archives")
    for folders, _ in found[0].values():
        if not any((root / folder).is_dir() for folder in folders):
            raise FileNotFoundError(f"The folder `{root / folders[0]}` must exist.")
    return found[0]


def find_files(root: FilePath, layout: Layout, split: str, ids: Sequence[str]) -> dict[str, dict[str, FilePath]]:
    """Finds every file of every image.

    Args:
        root: path of the extracted folder `PASCAL_MT`.
        layout: `RCM` or `ASTMT`.
        split: the split's name, for the message.
        ids: the split's image ids.

    Returns:
        Dictionary id -> dictionary of paths, with the layout's keys.

    Raises:
        FileNotFoundError: if a file is missing; says which, and how many more of its kind.
    """
    files: dict[str, dict[str, FilePath]] = {image_id: {} for image_id in ids}
    for kind, (folders, suffix) in layout.items():
        # Listing a folder once is faster than asking for each file.
        for folder in reversed([root / folder for folder in folders if (root / folder).is_dir()]):
            present = {path.name for path in folder.iterdir()}
            for image_id in ids:
                if f"{image_id}.{suffix}" in present:
                    files[image_id][kind] = folder / f"{image_id}.{suffix}"
        missing = [image_id for image_id in ids if kind not in files[image_id]]
        if missing:
            raise FileNotFoundError(
                f"The file `{root / folders[0] / missing[0]}.{suffix}` must exist: split {split!r} names the image "
                f"{missing[0]!r}. {len(missing)} of {len(ids)} files of this split are missing in "
                f"{' and '.join(f'`{folder}`' for folder in folders)}."
            )
    return files
