"""Pictures in rows and columns, and what their colours mean, as one PNG."""

import math
import os
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rc_keras.files.whole_files import whole_file
from rc_keras.tasks.drawing import IGNORED_COLOUR
from rc_keras.tasks.legend import Legend, Ramp, Swatches

_GAP, _HEADING = 4, 18  # pixels
_LINE, _SWATCH, _RAMP, _BALL, _LEAST_WIDTH = 18, 12, 96, 48, 440  # of the legend


def write_grid(
    path: str | os.PathLike,
    titles: Sequence[str],
    rows: Sequence[Sequence[np.ndarray]],
    legends: Mapping[str, Legend] | None = None,
) -> None:
    """Writes pictures in rows and columns under titles.

    Args:
        path: of the PNG.
        titles: one for each column.
        rows: lists of uint8 arrays `(height, width, 3)`.
        legends: `{name of a task: Legend}`, drawn below the pictures; `None`: none.
    """
    heights = [max(picture.shape[0] for picture in row) for row in rows]
    font = ImageFont.load_default()
    widths = [
        max(math.ceil(font.getlength(title)), *(picture.shape[1] for picture in column))
        for title, *column in zip(titles, *rows, strict=True)
    ]
    width, height = sum(widths) + _GAP * (len(widths) + 1), sum(heights) + _GAP * (len(heights) + 1) + _HEADING
    width = max(width, _LEAST_WIDTH) if legends else width
    below = _draw_legends(legends, width) if legends else None
    sheet = Image.new("RGB", (width, height + (below.height if below else 0)), "white")
    draw = ImageDraw.Draw(sheet)
    left = _GAP
    for column, (title, column_width) in enumerate(zip(titles, widths, strict=True)):
        draw.text((left, 3), title, fill="black", font=font)
        top = _GAP + _HEADING
        for row, row_height in zip(rows, heights, strict=True):
            sheet.paste(Image.fromarray(row[column]), (left, top))
            top += row_height + _GAP
        left += column_width + _GAP
    if below:
        sheet.paste(below, (0, height))
    with whole_file(path) as temporary:
        sheet.save(temporary)


class _Flow:
    """Puts pictures and words one after the other, in lines of a width.

    Attributes:
        sheet: with all of them; grows.
    """

    def __init__(self, width: int) -> None:
        self.sheet = Image.new("RGB", (width, _GAP), "white")
        self._font = ImageFont.load_default()
        self._left = self._indent = _GAP
        self._top = self._bottom = _GAP

    def begin(self, name: str, indent: int) -> None:
        """Begins a line with a name; what does not fit on it goes below, indented."""
        self._left, self._top, self._indent = _GAP, self._bottom, _GAP + indent
        self.add([name])
        self._left = self._indent

    def add(self, parts: Sequence[str | Image.Image]) -> None:
        """Puts parts that stay together."""
        widths = [math.ceil(self._font.getlength(part)) if isinstance(part, str) else part.width for part in parts]
        if self._left + sum(widths) + _GAP * len(parts) > self.sheet.width and self._left > self._indent:
            self._left, self._top = self._indent, self._bottom
        height = max(_LINE, *(part.height + _GAP for part in parts if not isinstance(part, str)), 0)
        self._bottom = max(self._bottom, self._top + height)
        if self._bottom > self.sheet.height:
            taller = Image.new("RGB", (self.sheet.width, self._bottom), "white")
            taller.paste(self.sheet)
            self.sheet = taller
        for part, width in zip(parts, widths, strict=True):
            if isinstance(part, str):
                place = (self._left, self._top + (height - _GAP) // 2)
                ImageDraw.Draw(self.sheet).text(place, part, fill="black", font=self._font, anchor="lm")
            else:
                self.sheet.paste(part, (self._left, self._top + (height - _GAP - part.height) // 2))
            self._left += width + _GAP
        self._left += 2 * _GAP


def _draw_legends(legends: Mapping[str, Legend], width: int) -> Image.Image:
    """What colours mean, task by task."""
    flow = _Flow(width)
    font = ImageFont.load_default()
    indent = max(math.ceil(font.getlength(name)) for name in legends) + 3 * _GAP
    for name, legend in legends.items():
        flow.begin(name, indent)
        if isinstance(legend, Swatches):
            for label, colour in zip(legend.names, legend.colours, strict=True):
                flow.add([_swatch(colour), label])
        elif isinstance(legend, Ramp):
            places = np.linspace(0, len(legend.colours) - 1, _RAMP)
            colours = [np.interp(places, range(len(legend.colours)), channel) for channel in legend.colours.T]
            ramp = np.round(np.stack(colours, axis=-1)).astype("uint8")
            flow.add([legend.low, Image.fromarray(np.repeat(ramp[None], _SWATCH, axis=0)), legend.high])
        else:
            sample = Image.fromarray(legend.picture)
            white = Image.new("RGB", sample.size, "white")
            white.paste(sample, mask=sample.getchannel("A"))
            flow.add([white.resize((_BALL, _BALL), Image.Resampling.LANCZOS), legend.text])
    flow.begin("", indent)
    flow.add([_swatch(IGNORED_COLOUR), "no label"])
    return flow.sheet


def _swatch(colour: np.ndarray) -> Image.Image:
    swatch = Image.new("RGB", (_SWATCH, _SWATCH), tuple(map(int, colour)))
    ImageDraw.Draw(swatch).rectangle((0, 0, _SWATCH - 1, _SWATCH - 1), outline=(120, 120, 120))
    return swatch
