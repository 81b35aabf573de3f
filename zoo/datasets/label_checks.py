"""Reads one image or label file of a data set; what is wrong with it is said with its name.

Nothing in a file is unpickled or executed, and no file is believed: each is read to its end and its
values are checked before they are stored.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rc_keras.tasks.task import Task
from rc_keras.zoo.datasets.file_path import FilePath

if TYPE_CHECKING:
    from PIL import Image

_ORIENTATION = 0x0112


def read_image(path: FilePath) -> np.ndarray:
    """Reads an RGB image.

    Args:
        path: JPEG or PNG file of 8 bits.

    Returns:
        uint8 array `(H, W, 3)`.

    Raises:
        ValueError: if the file is damaged, is of another format or depth, or is to be turned before it is shown.
    """
    image = _open(path, ("JPEG", "PNG"))
    if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"):
        raise ValueError(f"`{path}` must be an image of 8 bits a channel. Received: mode {image.mode!r}")
    # TensorFlow's decoders do not turn images, so labels drawn on the upright picture would not lie on it.
    turned = image.getexif().get(_ORIENTATION, 1)
    if turned not in (0, 1):
        raise ValueError(
            f"`{path}` must be stored upright, without an EXIF orientation (`PIL.ImageOps.exif_transpose` turns it). "
            f"Received: orientation {turned}"
        )
    return np.asarray(image.convert("RGB"))


def read_rgb(path: FilePath) -> np.ndarray:
    """Reads the pixels of an RGB label.

    Args:
        path: JPEG or PNG file.

    Returns:
        uint8 array `(H, W, 3)`.

    Raises:
        ValueError: if the file is damaged or not RGB.
    """
    image = _open(path, ("JPEG", "PNG"))
    if image.mode != "RGB":
        raise ValueError(f"`{path}` must be an RGB image. Received: mode {image.mode!r}")
    return np.asarray(image)


def read_png(path: FilePath) -> np.ndarray:
    """Reads a label of one channel as it is stored: a palette's indices, not its colours.

    Args:
        path: PNG file, greyscale of 1, 8 or 16 bits, or with a palette.

    Returns:
        Array `(H, W)`, uint8 or uint16.

    Raises:
        ValueError: if the file is damaged or has several channels.
    """
    image = _open(path, ("PNG",))
    with path.open("rb") as file:
        bits, colour = file.read(26)[24:26]
    if colour not in (0, 3):
        raise ValueError(f"`{path}` must be a PNG of one channel, or with a palette. Received: mode {image.mode!r}")
    # Pillow stretches greys of 2 and 4 bits to 0..255, and they would be other class ids.
    if colour == 0 and bits in (2, 4):
        raise ValueError(f"`{path}` must be a PNG of 1, 8 or 16 bits. Received: {bits} bits")
    return np.asarray(image).astype(np.uint16 if bits == 16 else np.uint8)


def read_npy(path: FilePath) -> np.ndarray:
    """Reads an array; a last axis of one channel is dropped.

    Args:
        path: `.npy` file of numbers.

    Returns:
        Array `(H, W)` or `(H, W, channels)`.

    Raises:
        ValueError: if the file is damaged, or holds Python objects (they are not unpickled).
    """
    try:
        with path.open("rb") as file:
            values = np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # NumPy raises a different error for each kind of damage.
        raise ValueError(f"`{path}` must be a `.npy` file of numbers. Received: {error}") from error
    if values.dtype.kind not in "buif":
        raise ValueError(f"`{path}` must hold numbers. Received: dtype {values.dtype}")
    return values[..., 0] if values.ndim == 3 and values.shape[-1] == 1 else values


def read_mat(path: FilePath, key: str, numbers: bool = True) -> np.ndarray:
    """Reads a variable of a MATLAB 5 file.

    Args:
        path: the file.
        key: name of the variable.
        numbers: whether it must hold numbers; a structure is an array with fields.

    Returns:
        NumPy array.

    Raises:
        ValueError: if the file is damaged or has no such variable.
    """
    import scipy.io

    try:
        with path.open("rb") as file:
            content = scipy.io.loadmat(file, variable_names=[key])
    except Exception as error:  # SciPy raises a different error for each kind of damage.
        raise ValueError(f"`{path}` must be a MATLAB 5 file. Received: {error}") from error
    values = content.get(key)
    if values is None:
        raise ValueError(f"`{path}` must hold the variable {key!r}. Received: none of that name")
    if not isinstance(values, np.ndarray) or (numbers and values.dtype.kind not in "buif"):
        raise ValueError(f"`{path}` must hold numbers in {key!r}. Received: {getattr(values, 'dtype', type(values))}")
    return values


def check_size(path: FilePath, label: np.ndarray, size: Sequence[int]) -> None:
    """Raises `ValueError` if a label is not as large as its image.

    Args:
        path: file of the label, for the message.
        label: array `(H, W)` or `(H, W, channels)`.
        size: (height, width) of the image.
    """
    if label.shape[:2] != tuple(size):
        raise ValueError(f"`{path}` must be as large as its image, {tuple(size)}. Received: {label.shape[:2]}")


def check_values(path: FilePath, task: Task, label: np.ndarray) -> None:
    """Raises `ValueError` if a label's shape, type or values are not what its task takes.

    Args:
        path: file of the label, for the message.
        task: `Task` of the label.
        label: array `(H, W)`, or `(H, W, 3)` for normals.
    """
    try:
        task.check_labels(label[None], (1, *label.shape[:2], 3))
    except ValueError as error:
        raise ValueError(f"`{path}`: {error}") from None


def decoded(path: FilePath, task: Task, values: np.ndarray, is_pixels: bool = False) -> np.ndarray:
    """Labels from a file's pixels or numbers, checked.

    Args:
        path: the file, for the message.
        task: `Task` of the labels.
        values: array `(H, W)`, or `(H, W, channels)` where a label has several, coded as `Kind.decode` of the task's
            kind says: normals as uint8 or floating-point vectors, zero where unknown, depth as metres.
        is_pixels: see `Kind.decode`.

    Returns:
        Array of the same shape, float32 where labels are continuous. What has unit length has length 1, or 0 where
        unknown.

    Raises:
        ValueError: if the file cannot mean labels, or shape, type or values are not what the task takes.
    """
    kind = task.definition
    try:
        labels = kind.decode(values, is_pixels)
    except ValueError as error:
        raise ValueError(f"`{path}` must {error}") from None
    if kind.continuous:
        labels = _as_float32(labels)
    if not kind.unit_length:
        check_values(path, task, labels)
        return labels
    square = np.einsum("...c,...c->...", labels, labels)[..., None]
    labels = np.where(square == 0, labels.dtype.type(0), labels)
    check_values(path, task, labels)
    return labels / np.sqrt(np.where(square == 0, np.float32(1), square))


def _as_float32(values: np.ndarray) -> np.ndarray:
    """Floating-point numbers as float32, too large ones as infinity; others as they are, for the check to see."""
    if values.dtype.kind != "f":
        return values
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _open(path: FilePath, formats: Sequence[str]) -> "Image.Image":
    """A PIL image, read to its end."""
    from PIL import Image

    try:
        with path.open("rb") as file:
            image = Image.open(file, formats=formats)
            image.load()
            return image
    except Exception as error:  # Pillow raises a different error for each kind of damage.
        raise ValueError(f"`{path}` must be a readable {' or '.join(formats)} file. Received: {error}") from error
