"""Names of the semantic classes and of the object parts."""

CLASSES = (
    "floor",
    "wall",
    "ceiling",
    "picture",
    "table",
    "chair",
    "sofa",
    "shelf",
    "lamp",
    "plant",
    "person",
    "dog",
    "box",
    "ball",
)
PARTS = ("background", "body", "head", "arm", "leg", "surface", "back")

# Classes that belong to the room rather than stand in it.
ROOM_CLASSES = ("floor", "wall", "ceiling", "picture")
