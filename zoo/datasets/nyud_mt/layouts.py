"""The two archives called NYUD_MT: same folders, same meaning, other files."""

from rc_keras.zoo.datasets.file_path import FilePath

# Folder: suffix of its files.
RCM = {"images": "jpg", "segmentation": "mat", "edge": "png", "normals": "jpg", "depth": "mat"}
NUMPY = {"images": "jpg", "segmentation": "png", "edge": "npy", "normals": "npy", "depth": "npy"}


def find_layout(root: FilePath) -> dict[str, str]:
    """Tells the layouts apart by the files in `edge`.

    Args:
        root: path of the extracted folder `NYUD_MT`.

    Returns:
        `RCM` or `NUMPY`.

    Raises:
        FileNotFoundError: if a folder is missing, or `edge` holds files of neither layout.
        ValueError: if `edge` holds files of both.
    """
    for folder in RCM:
        if not (root / folder).is_dir():
            raise FileNotFoundError(f"The folder `{root / folder}` must exist.")
    suffixes = {path.suffix for path in (root / "edge").iterdir()}
    found = [layout for layout in (RCM, NUMPY) if f".{layout['edge']}" in suffixes]
    if len(found) > 1:
        raise ValueError(f"`{root / 'edge'}` must hold `.png` or `.npy` files. Received: both, from two archives")
    if not found:
        raise FileNotFoundError(f"`{root / 'edge'}` must hold `.png` or `.npy` files. Received: {sorted(suffixes)}")
    return found[0]
