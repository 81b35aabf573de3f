"""The catalogue: arguments of `Task` for the tasks that have a name of their own, by data set."""

from typing import Any

_VOC_CLASSES = """
background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike
person pottedplant sheep sofa train tvmonitor
"""

_HUMAN_PARTS = "background head torso upper_arm lower_arm upper_leg lower_leg"

_NYUD_CLASSES = """
unlabelled wall floor cabinet bed chair sofa table door window bookshelf picture counter blinds desk
shelves curtain dresser pillow mirror floor_mat clothes ceiling books refrigerator television paper
towel shower_curtain box whiteboard person night_stand toilet sink lamp bathtub bag other_structure
other_furniture other_prop
"""

PASCAL_CONTEXT: tuple[dict[str, Any], ...] = (
    {"name": "edge", "channels": 1, "kind": "edge", "loss_weight": 50.0},
    {"name": "semseg", "channels": 21, "kind": "segmentation", "class_names": _VOC_CLASSES.split()},
    {
        "name": "human_parts",
        "channels": 7,
        "kind": "segmentation",
        "loss_weight": 2.0,
        "class_names": _HUMAN_PARTS.split(),
    },
    {"name": "normals", "channels": 3, "kind": "normals", "loss_weight": 10.0},
    {"name": "saliency", "channels": 1, "kind": "saliency", "loss_weight": 5.0},
)

NYUD: tuple[dict[str, Any], ...] = (
    {"name": "edge", "channels": 1, "kind": "edge", "loss_weight": 50.0},
    {"name": "semseg", "channels": 41, "kind": "segmentation", "ignore": 0, "class_names": _NYUD_CLASSES.split()},
    {"name": "normals", "channels": 3, "kind": "normals", "loss_weight": 10.0},
    {"name": "depth", "channels": 1, "kind": "depth"},
)

# What a bare name means: PASCAL-Context's task where both have one.
CATALOGUE = {entry["name"]: entry for entry in (*NYUD, *PASCAL_CONTEXT)}
