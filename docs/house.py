"""The rooms of the house and the imports between them, as a picture.

Usage:
    python docs/house.py

Draws `docs/house.svg`. A room is a package, or a module that stands alone at the top of `rc_keras`, `zoo` or `export`.
Every import counts, those inside of functions and those for types alone too. `__init__` and `__main__` at the top of a
source folder import whatever they like: they are doors.
"""

import ast
import functools
import textwrap
from collections.abc import Iterator
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "house.svg"
SOURCES = {"rc_keras": "rc_keras", "rc_keras.zoo": "zoo", "rc_keras.export": "export"}

# From the roof down: a room imports rooms of lower floors alone.
FLOORS = (
    ("zoo.train", "zoo.evaluate", "zoo.compare", "zoo.diagnose", "zoo.demo"),
    ("zoo.training", "zoo.trained_model", "zoo.diagnostics"),
    ("zoo.evaluation", "zoo.command_line"),
    ("zoo.strategy", "zoo.recipes"),
    ("zoo.preprocessing", "zoo.datasets", "zoo.rooms", "zoo.evaluation_metrics", "zoo.delta_m"),
    ("zoo.rendering", "zoo.picture_grid", "zoo.measures", "zoo.chart_style", "zoo.progress"),
    ("from_preset", "build", "view"),
    ("model", "published"),
    ("storage", "export"),
    ("training", "reports"),
    ("network", "pretrained"),
    ("tasks", "methods", "decoders", "backbones"),
    ("metrics", "optimizers"),
    ("losses", "layers", "files"),
    ("base", "version"),
)


@functools.cache
def modules() -> dict[str, Path]:
    """`{dotted name as installed: file}` of every module but the doors."""
    found = {}
    for package, folder in SOURCES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            if parts in (("__init__",), ("__main__",)):
                continue
            found[".".join([package, *(part for part in parts if part != "__init__")])] = path
    return found


def room_of(module: str) -> str:
    """`"network"` of `rc_keras.network.bank`, `"zoo.compare"` of `rc_keras.zoo.compare.table`."""
    parts = module.split(".")[1:]
    return ".".join(parts[: 2 if parts[0] == "zoo" else 1])


def imported(path: Path, with_types: bool = True) -> Iterator[str]:
    """The modules of the house that a file imports, wherever it does.

    Args:
        path: the file.
        with_types: whether those count that only annotations need (`if TYPE_CHECKING`).
    """
    known = {*modules(), *SOURCES}
    for node in _walk(ast.parse(path.read_text(encoding="utf-8")), with_types):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in known else node.module for name in names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _walk(tree: ast.AST, with_types: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if with_types or not for_types:
            yield node
            yield from _walk(node, with_types)


def arrows() -> dict[tuple[str, str], list[str]]:
    """`{(room, room it imports): modules that do}`."""
    found: dict[tuple[str, str], list[str]] = {}
    for module, path in modules().items():
        for target in imported(path):
            if target in modules() and room_of(target) != room_of(module):
                found.setdefault((room_of(module), room_of(target)), []).append(module)
    return found


def goes_down(start: str, end: str) -> bool:
    """Whether a room stands on a higher floor than another."""
    floors = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
    return floors[start] < floors[end]


def direct(pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The arrows, all of which go down, without those that a longer way goes along."""
    below: dict[str, set[str]] = {}
    for start, end in pairs:
        below.setdefault(start, set()).add(end)

    def reached(room: str) -> set[str]:
        return {end for near in below.get(room, ()) for end in (near, *reached(near))}

    return {(a, b) for a, b in pairs if not any(b in reached(near) for near in below[a])}


def description(room: str) -> str:
    """What a room says it holds."""
    files = [path for module, path in modules().items() if room_of(module) == room]
    door = {name: ROOT / folder / "__init__.py" for name, folder in SOURCES.items()}.get(f"rc_keras.{room}")
    text = ast.get_docstring(ast.parse((door or files[0]).read_text(encoding="utf-8"))) or ""
    return text.partition("\n\n")[0].replace("\n", " ")


WIDTH, HEIGHT, GAP, MARGIN, SHEET = 208, 74, 40, 16, 1140
COLOURS = {"zoo": "#fdebd3", "export": "#dcefdc"}  # and everything else


def picture() -> str:
    """The house as SVG."""
    boxes, places = [], {}
    for floor, rooms in enumerate(FLOORS):
        y = MARGIN + floor * (HEIGHT + GAP)
        step = (SHEET - 2 * MARGIN) / len(rooms)
        for column, room in enumerate(rooms):
            x = MARGIN + (column + 0.5) * step
            places[room] = (x, y)
            boxes.append(_box(room, x - WIDTH / 2, y))
    lines = []
    for start, end in sorted(direct({pair for pair in arrows() if goes_down(*pair)})):
        (x1, y1), (x2, y2) = places[start], places[end]
        y1, middle = y1 + HEIGHT, (y1 + HEIGHT + y2) / 2
        lines.append(f'<path d="M{x1:g} {y1:g} C{x1:g} {middle:g} {x2:g} {middle:g} {x2:g} {y2 - 4:g}"/>')
    height = MARGIN + len(FLOORS) * (HEIGHT + GAP)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SHEET} {height}" font-family="sans-serif">',
            f'<rect width="{SHEET}" height="{height}" fill="white"/>',
            '<defs><marker id="tip" viewBox="0 0 6 6" refX="5" refY="3" markerWidth="6" markerHeight="6" '
            'orient="auto"><path d="M0 0L6 3L0 6z" fill="#888"/></marker></defs>',
            '<g fill="none" stroke="#999" stroke-width="1.2">',
            *(line.replace("/>", ' marker-end="url(#tip)"/>') for line in lines),
            "</g>",
            *boxes,
            "</svg>\n",
        ]
    )


def _box(room: str, x: float, y: float) -> str:
    colour = COLOURS.get(room.partition(".")[0], "#dde8f6")
    rows = textwrap.wrap(description(room).replace("`", ""), 32, max_lines=3, placeholder=" …")
    return "\n".join(
        [
            f'<rect x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="5" fill="{colour}" stroke="#667"/>',
            f'<text x="{x + 8:g}" y="{y + 18:g}" font-size="13" font-weight="bold">{escape(room)}</text>',
            *(
                f'<text x="{x + 8:g}" y="{y + 35 + 13 * row:g}" font-size="11">{escape(line)}</text>'
                for row, line in enumerate(rows)
            ),
        ]
    )


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
    print(f"Drawn: {PICTURE.relative_to(ROOT)}")
