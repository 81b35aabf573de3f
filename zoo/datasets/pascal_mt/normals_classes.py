"""The PASCAL-Context classes on which the distilled normals count."""

import json
import pathlib

from rc_keras.zoo.datasets.file_path import FilePath


def normals_classes(root: FilePath) -> list[int]:
    """Ids of the classes that the NYU and the Context class lists share, and of `tvmonitor`.

    The normals come from a network trained on NYU, so they are used only on things it has seen.

    Args:
        root: path of the folder `PASCAL_MT`. If it holds `json/nyu_classes.json` and
            `json/context_classes.json`, {name: id} each, the ids are made of them; otherwise they
            are the 170 in `normals_classes.json` of this package.

    Returns:
        Sorted list of ids in the variable `LabelMap`.

    Raises:
        ValueError: if one of the two files is not {name: id}.
    """
    paths = [root / "json" / f"{name}_classes.json" for name in ("nyu", "context")]
    if not all(path.exists() for path in paths):
        return sorted(_read(pathlib.Path(__file__).with_name("normals_classes.json")).values())
    nyu, context = map(_read, paths)
    if "tvmonitor" not in context:
        raise ValueError(f"`{paths[1]}` must name the class 'tvmonitor'. Received: {len(context)} other names")
    return sorted({context[name] for name in context if name in nyu and name != "unknown"} | {context["tvmonitor"]})


def _read(path: FilePath) -> dict[str, int]:
    try:
        classes = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"`{path}` must be a JSON file. Received: {error}") from error
    if not isinstance(classes, dict) or not all(type(number) is int for number in classes.values()):
        raise ValueError(f"`{path}` must hold a class id for each name. Received: another structure")
    return classes
