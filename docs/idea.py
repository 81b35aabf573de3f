"""The two pictures of the idea, for light and for dark pages.

Usage:
    python docs/idea.py

Writes `docs/pictures/convolution-*.svg`, one convolution and what each task adds to it, and
`docs/pictures/network-*.svg`, a network of three tasks. They are drawn 480 wide, so that their letters can still be
read on a telephone.
"""

from collections.abc import Iterator
from html import escape
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "pictures"
TASKS = ("semseg", "normals", "depth")
WIDTH = 480
KERNEL, CHANNELS = 3, 512  # of the layers of a ResNet-18's last stage

SCHEMES = {
    "light": {"ink": "#263238", "faint": "#607d8b", "bank": "#cfd8dc", "edge": "#78909c", "page": "#ffffff"},
    "dark": {"ink": "#eceff1", "faint": "#b0bec5", "bank": "#455a64", "edge": "#90a4ae", "page": "#1e2129"},
}
COLOURS = {
    "light": dict(zip(TASKS, ("#1e88e5", "#f57c00", "#43a047"), strict=True)),
    "dark": dict(zip(TASKS, ("#42a5f5", "#ffa726", "#66bb6a"), strict=True)),
}


class Canvas:
    """An SVG that grows by its elements.

    Args:
        scheme: a key of `SCHEMES`.
        height: of the picture.
        title: what it shows, for those who do not see it.
    """

    def __init__(self, scheme: str, height: int, title: str) -> None:
        self.inks, self.tasks = SCHEMES[scheme], COLOURS[scheme]
        size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="sans-serif" font-size="14">',
            f"<title>{escape(title)}</title>",
        ]

    def box(self, x: float, y: float, width: float, height: float, fill: str, dashed: bool = False) -> None:
        edge = f'stroke="{self.inks["edge"] if fill == self.inks["bank"] else fill}"'
        inside = f'fill="{fill}"' + (' fill-opacity="0.25" stroke-dasharray="5 4" stroke-width="1.5"' if dashed else "")
        self.parts.append(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="4" {inside} {edge}/>')

    def text(self, x: float, y: float, text: str, ink: str = "ink", anchor: str = "middle", size: int = 14) -> None:
        style = f'fill="{self.inks.get(ink, ink)}" text-anchor="{anchor}" font-size="{size}"'
        self.parts.append(f'<text x="{x}" y="{y}" {style}>{escape(text)}</text>')

    def arrow(self, x1: float, y1: float, x2: float, y2: float) -> None:
        """A line with a head, which comes in from the left."""
        ink, middle = self.inks["edge"], (x1 + x2) / 2
        line = f"M{x1} {y1}C{middle} {y1} {middle} {y2} {x2 - 5} {y2}"
        self.parts.append(f'<path d="{line}" fill="none" stroke="{ink}" stroke-width="1.5"/>')
        self.parts.append(f'<path d="M{x2} {y2}l-8 -4v8z" fill="{ink}"/>')

    def line(self, x1: float, y1: float, x2: float, y2: float) -> None:
        self.parts.append(f'<path d="M{x1} {y1}L{x2} {y2}" stroke="{self.inks["edge"]}" stroke-width="1.2"/>')

    def save(self, name: str) -> None:
        (FOLDER / name).write_text("\n".join([*self.parts, "</svg>"]) + "\n", encoding="utf-8")


def draw_convolution(canvas: Canvas) -> None:
    """A kernel of the bank, whose responses three modulators mix."""
    tile, gap, left, top = 34, 3, 104, 72
    side = KERNEL * (tile + gap) - gap
    middle = top + side / 2
    canvas.text(42, middle - 12, "features")
    canvas.text(42, middle + 20, f"{CHANNELS}", "faint", size=12)
    canvas.arrow(8, middle, left - 8, middle)
    for i in range(KERNEL * KERNEL):
        row, column = divmod(i, KERNEL)
        canvas.box(left + column * (tile + gap), top + row * (tile + gap), tile, tile, canvas.inks["bank"])
    canvas.text(left + side / 2, top - 34, "the bank's kernel")
    canvas.text(left + side / 2, top - 14, f"{KERNEL} x {KERNEL}, frozen, shared", "faint", size=12)
    weights = KERNEL * KERNEL * CHANNELS * CHANNELS
    canvas.text(left + side / 2, top + side + 24, f"{weights:,} weights,")
    canvas.text(left + side / 2, top + side + 43, "stored once")
    canvas.text(316, top - 34, "modulators")
    canvas.text(316, top - 14, "1 x 1, trained", "faint", size=12)
    for task, y in zip(TASKS, _rows(middle, tile + gap), strict=True):
        canvas.arrow(left + side + 6, middle, 292, y)
        canvas.box(299, y - tile / 2, tile, tile, canvas.tasks[task])
        canvas.arrow(299 + tile + 6, y, 372, y)
        canvas.text(380, y + 5, task, canvas.tasks[task], "start")
    canvas.text(316, top + side + 24, f"{CHANNELS * CHANNELS:,} weights")
    canvas.text(316, top + side + 43, "for each task")


def draw_network(canvas: Canvas) -> None:
    """Three tasks through one bank: what stands in a column is shared, what stands in a row is a task's own."""
    top, step, height = 66, 72, 44
    columns, parts, width = (64, 188), ("1 x 1", "norm"), 38  # left edges of the bank's layers, and what follows each
    bottom = top + step * (len(TASKS) - 1) + height
    canvas.text(26, (top + bottom) / 2 - 12, "image")
    canvas.arrow(4, (top + bottom) / 2, 56, (top + bottom) / 2)
    for x in columns:
        canvas.box(x, top - 14, 26, bottom - top + 28, canvas.inks["bank"])
    canvas.text(139, 20, "bank, frozen")
    for x in columns:
        canvas.line(139, 27, x + 13, top - 20)
    for row, task in enumerate(TASKS):
        colour, y, later = canvas.tasks[task], top + row * step, task == TASKS[-1]
        middle = y + height / 2
        for x in columns:
            for i, part in enumerate(parts):
                canvas.box(x + 33 + i * (width + 4), y, width, height, colour, later)
                canvas.text(x + 33 + i * (width + 4) + width / 2, middle + 4, part, "ink" if later else "page", size=11)
        canvas.text(314, middle + 5, "…", "faint")
        canvas.box(326, y, 70, height, colour, later)
        canvas.text(361, middle + 5, "decoder", "ink" if later else "page")
        canvas.arrow(400, middle, 420, middle)
        canvas.text(424, middle + 5, task, colour, "start")
    y = bottom + 46
    for text, fill, dashed, x in (
        ("shared, stored once", canvas.inks["bank"], False, 20),
        ("a task's own", canvas.tasks[TASKS[0]], False, 196),
        ("added later", canvas.tasks[TASKS[-1]], True, 334),
    ):
        canvas.box(x, y - 12, 16, 16, fill, dashed)
        canvas.text(x + 23, y + 1, text, "ink", "start", 13)


def _rows(middle: float, step: float) -> Iterator[float]:
    return (middle + step * (i - (len(TASKS) - 1) / 2) for i in range(len(TASKS)))


def draw_all() -> None:
    """Writes both pictures in both schemes."""
    for scheme in SCHEMES:
        canvas = Canvas(scheme, 246, "One frozen kernel of the bank, and a small modulator of each task behind it")
        draw_convolution(canvas)
        canvas.save(f"convolution-{scheme}.svg")
        canvas = Canvas(scheme, 340, "Three tasks through one frozen bank, each with modulators, norms and a decoder")
        draw_network(canvas)
        canvas.save(f"network-{scheme}.svg")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    draw_all()
    print(f"Drawn: {FOLDER}")
