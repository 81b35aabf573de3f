"""Six parts of people, from the annotations of PASCAL-Parts."""

from collections.abc import Sequence

import numpy as np

from rc_keras.zoo.datasets.file_path import FilePath
from rc_keras.zoo.datasets.label_checks import check_size, read_mat

PERSON = 15
IGNORE = 255

# PASCAL-Parts' names; l and r before a limb's name are left and right, so `llleg` is the left lower leg.
PARTS = {
    1: "head hair mouth nose lear rear lebrow rebrow leye reye",
    2: "torso neck",
    3: "luarm ruarm",
    4: "llarm rlarm lhand rhand",
    5: "luleg ruleg",
    6: "llleg rlleg lfoot rfoot",
}
CLASSES = {part: number for number, parts in PARTS.items() for part in parts.split()}


def read_human_parts(path: FilePath, size: Sequence[int]) -> np.ndarray:
    """Reads the parts of all people of an image.

    The file's structure is `anno.objects(i).{class_ind, mask, parts(j).{part_name, mask}}`. Where
    parts overlap, the later one counts: later objects are in front.

    Args:
        path: `.mat` file of PASCAL-Parts.
        size: (height, width) of the image.

    Returns:
        uint8 array `(H, W)`: 0 background, 1 head, 2 torso, 3 upper arm, 4 lower arm, 5 upper leg,
        6 lower leg; 255 everywhere if no part of a person is annotated.

    Raises:
        ValueError: if the file is damaged, not of this structure, has an unknown part, or a mask of
            another size than the image.
    """
    anno = read_mat(path, "anno", numbers=False)
    label = np.zeros(size, np.uint8)
    for name, mask in _parts_of_people(path, anno):
        if name not in CLASSES:
            raise ValueError(
                f"A person's part in `{path}` must be one of {', '.join(sorted(CLASSES))}. Received: {name!r}"
            )
        check_size(path, mask, size)
        label[mask != 0] = CLASSES[name]
    if not label.any():
        label[:] = IGNORE
    return label


def _parts_of_people(path: FilePath, anno: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """List of (name, mask)."""
    try:
        people = [o for o in anno["objects"][0, 0].ravel() if int(o["class_ind"].item()) == PERSON]
        # An object without parts has an empty array there, which has no fields.
        parts = [part for person in people if person["parts"].size for part in person["parts"].ravel()]
        return [(str(part["part_name"].item()), part["mask"]) for part in parts]
    except (IndexError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"`{path}` must hold `anno.objects(i)` with `class_ind` and `parts(j)`, each with `part_name` and `mask`. "
            f"Received: {type(error).__name__}: {error}"
        ) from error
