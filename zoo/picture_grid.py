"""Pictures in rows and columns, as one PNG."""

import math
import os
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rc_keras.files.whole_files import whole_file

_GAP, _HEADING = 4, 18  # pixels


def write_grid(path: str | os.PathLike, titles: Sequence[str], rows: Sequence[Sequence[np.ndarray]]) -> None:
    """Writes pictures in rows and columns under titles.

    Args:
        path: of the PNG.
        titles: one for each column.
        rows: lists of uint8 arrays `(height, width, 3)`.
    """
    heights = [max(picture.shape[0] for picture in row) for row in rows]
    font = ImageFont.load_default()
    widths = [
        max(math.ceil(font.getlength(title)), *(picture.shape[1] for picture in column))
        for title, *column in zip(titles, *rows, strict=True)
    ]
    size = sum(widths) + _GAP * (len(widths) + 1), sum(heights) + _GAP * (len(heights) + 1) + _HEADING
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    left = _GAP
    for column, (title, width) in enumerate(zip(titles, widths, strict=True)):
        draw.text((left, 3), title, fill="black", font=font)
        top = _GAP + _HEADING
        for row, height in zip(rows, heights, strict=True):
            sheet.paste(Image.fromarray(row[column]), (left, top))
            top += height + _GAP
        left += width + _GAP
    with whole_file(path) as temporary:
        sheet.save(temporary)
