"""What happens to an image happens to its labels.

The published protocol, in this order: random scale, centred padding to the crop where the image is smaller, random
crop, mirroring. The kind of a task says how its labels move (attributes of `rc_keras.tasks.kinds.Kind`):

| kind | scale | padding | mirrored |
| --- | --- | --- | --- |
| `segmentation`, `edge`, `saliency` | nearest | `Task.ignore` | |
| `normals` | bilinear | 0 | x negated |
| `depth` | bilinear, divided by the scale | 0 | |
| `classification` | untouched | | |

The image is scaled bilinearly, with half-pixel centres and no antialiasing, and padded with (123, 116, 103). Two things
differ from the published code, where unknown normals and depth are zero and are averaged like any other value: here a
pixel mixed from known and unknown ones is unknown, and a mean of several normals, which is shorter than 1, gets length
1 again, because predictions have it and the loss compares the two.

Functions take and answer `(image, labels)`: uint8 `(height, width, 3)` and `{task: label}`, labels `(height, width,
channels)`.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import tensorflow as tf

from rc_keras.tasks.task import Task
from rc_keras.zoo.preprocessing.preprocessing import Preprocessing

Labels: TypeAlias = dict[str, tf.Tensor]

IMAGE_PADDING = (123, 116, 103)

_SCALE, _TOP, _LEFT, _FLIP = range(4)


def standard_labels(image: tf.Tensor, labels: Labels, tasks: Iterable[Task]) -> tuple[tf.Tensor, Labels]:
    """Labels in the types they keep: three axes, float32 if continuous, else integers that can hold `Task.ignore`.

    Raises:
        tf.errors.InvalidArgumentError: in the pipeline, if a label is not as large as its image.
    """
    size = tf.shape(image)[:2]

    def convert(task: Task, label: tf.Tensor) -> tf.Tensor:
        if label.shape.rank == 2:
            label = label[..., None]
        if task.definition.continuous:
            label = tf.cast(label, tf.float32)
        elif label.dtype.is_bool:
            label = tf.cast(label, tf.uint8)
        elif label.dtype.is_integer and not label.dtype.min <= task.ignore <= label.dtype.max:
            label = tf.cast(label, tf.int32)
        received = tf.shape(label)[:2]
        message = f"`{task.name}` labels must be as large as their image, {{}}. Received: {{}}"
        right = tf.debugging.Assert(tf.reduce_all(received == size), [tf.strings.format(message, (size, received))])
        with tf.control_dependencies([right] if right is not None else []):
            return tf.identity(label)

    return image, _map_labels(convert, labels, tasks)


def resize(image: tf.Tensor, labels: Labels, tasks: Iterable[Task], size: tuple[int, int]) -> tuple[tf.Tensor, Labels]:
    """Brings image (mean over areas) and labels to a size: edges as lines (see `_resize_lines`), others nearest."""

    def move(task: Task, label: tf.Tensor) -> tf.Tensor:
        if task.definition.lines:
            return _resize_lines(label, size)
        return tf.image.resize(label, size, method="nearest")

    return _to_uint8(tf.image.resize(image, size, method="area")), _map_labels(move, labels, tasks)


def rescale(image: tf.Tensor, labels: Labels, tasks: Iterable[Task], scale: tf.Tensor) -> tuple[tf.Tensor, Labels]:
    """Scales both axes by a factor; sizes are cut to whole pixels."""
    # In double precision, as Python's int(x * scale) is.
    size = tf.cast(tf.cast(tf.shape(image)[:2], tf.float64) * tf.cast(scale, tf.float64), tf.int32)
    size = tf.maximum(size, 1)

    def move(task: Task, label: tf.Tensor) -> tf.Tensor:
        kind = task.definition
        if kind.interpolation == "bilinear":
            moved = _resize_known(label, size, task.ignore)
        else:
            moved = tf.image.resize(label, size, method="nearest")
        if kind.unit_length:
            moved = tf.math.divide_no_nan(moved, tf.norm(moved, axis=-1, keepdims=True))
        if kind.scale_power:
            factor = tf.cast(scale, tf.float32) ** abs(kind.scale_power)
            moved = _where_known(moved * factor if kind.scale_power > 0 else moved / factor, moved, task.ignore)
        return moved

    return _to_uint8(tf.image.resize(image, size)), _map_labels(move, labels, tasks)


def pad(
    image: tf.Tensor, labels: Labels, tasks: Iterable[Task], size: tuple[int, int]
) -> tuple[tf.Tensor, Labels, tf.Tensor]:
    """Pads what is smaller than `size` to it, the same on both sides; an odd pixel goes below and to the right.

    Returns:
        (image, labels, offset): offset is the (top, left) where the image begins.
    """
    missing = tf.maximum(tf.constant(size) - tf.shape(image)[:2], 0)
    before = missing // 2
    paddings = tf.concat([tf.stack([before, missing - before], axis=1), [[0, 0]]], axis=0)
    colour = tf.constant(IMAGE_PADDING, tf.uint8)

    def fill(task: Task, label: tf.Tensor) -> tf.Tensor:
        return tf.pad(label, paddings, constant_values=tf.cast(task.ignore, label.dtype))

    # `tf.pad` knows one value for all channels. Colours wrap around, like uint8 arithmetic does.
    return tf.pad(image - colour, paddings) + colour, _map_labels(fill, labels, tasks), before


def crop(
    image: tf.Tensor, labels: Labels, tasks: Iterable[Task], offset: tf.Tensor | tuple[int, int], size: tuple[int, int]
) -> tuple[tf.Tensor, Labels]:
    """Cuts the part of (height, width) `size` that begins at (top, left) `offset`."""
    top, left = tf.unstack(offset, num=2)

    def cut(task: Task | None, pixels: tf.Tensor) -> tf.Tensor:
        part = pixels[top : top + size[0], left : left + size[1]]
        return tf.ensure_shape(part, (*size, 3 if task is None else task.definition.label_channels(task)))

    return cut(None, image), _map_labels(cut, labels, tasks)


def mirror(image: tf.Tensor, labels: Labels, tasks: Iterable[Task]) -> tuple[tf.Tensor, Labels]:
    """Swaps left and right."""

    def turn(task: Task, label: tf.Tensor) -> tf.Tensor:
        label, factors = label[:, ::-1], task.definition.mirror_factors
        return _where_known(label * tf.constant(factors), label, task.ignore) if factors else label

    return image[:, ::-1], _map_labels(turn, labels, tasks)


def augment(
    image: tf.Tensor, labels: Labels, tasks: Sequence[Task], preprocessing: Preprocessing, seed: tf.Tensor
) -> tuple[tf.Tensor, Labels]:
    """Random scale, padding, random crop and mirroring.

    Args:
        image, labels: see above, in stored size, or resized.
        tasks: list of `Task`.
        preprocessing: the `Preprocessing`.
        seed: int64 tensor `(2,)`; equal seeds give equal results.

    Returns:
        (image, labels), of the crop's size.
    """
    if preprocessing.scales != (1.0,):
        scales = tf.constant(preprocessing.scales, tf.float64)
        image, labels = rescale(image, labels, tasks, scales[_draw(seed, _SCALE, len(preprocessing.scales))])
    image, labels, _ = pad(image, labels, tasks, preprocessing.crop)
    spare = tf.shape(image)[:2] - preprocessing.crop
    offset = tf.stack([_draw(seed, _TOP, spare[0] + 1), _draw(seed, _LEFT, spare[1] + 1)])
    image, labels = crop(image, labels, tasks, offset, preprocessing.crop)
    if preprocessing.flip:
        image, labels = tf.cond(
            _draw(seed, _FLIP, 2) == 1, lambda: mirror(image, labels, tasks), lambda: (image, labels)
        )
    return image, labels


def example_seed(seed: int, epoch: int | tf.Tensor, position: int | tf.Tensor) -> tf.Tensor:
    """The seed of what is random about the example at a position of an epoch's order."""
    return _fold_in(_int64_seed(seed), epoch, position)


def order_seed(seed: int, epoch: int | tf.Tensor) -> tf.Tensor:
    """The seed of an epoch's order, which no example shares."""
    return _fold_in(_int64_seed(seed) + [0, 1], epoch, 0)


def _fold_in(seed: tf.Tensor, epoch: int | tf.Tensor, position: int | tf.Tensor) -> tf.Tensor:
    # TensorFlow draws other numbers for an int32 than for an int64 of the same value.
    seed = tf.random.fold_in(seed, tf.cast(epoch, tf.int64))
    return tf.random.fold_in(seed, tf.cast(position, tf.int64))


def _int64_seed(seed: int) -> tf.Tensor:
    return tf.constant([seed, 0], tf.int64)


def _draw(seed: tf.Tensor, purpose: int, count: int | tf.Tensor) -> tf.Tensor:
    """An integer in 0 … count − 1."""
    seed = tf.random.fold_in(seed, purpose)
    return tf.random.stateless_uniform((), seed, maxval=count, dtype=tf.int32)


def _map_labels(function: Callable[[Task, tf.Tensor], tf.Tensor], labels: Labels, tasks: Iterable[Task]) -> Labels:
    """Applies `function(task, label)` to every label but those of whole images, which have no pixels."""
    return {
        task.name: function(task, labels[task.name]) if task.definition.dense else labels[task.name] for task in tasks
    }


def _is_known(label: tf.Tensor, ignore: int) -> tf.Tensor:
    """Whether a pixel has a label, `(height, width, 1)`."""
    return tf.reduce_any(label != tf.cast(ignore, label.dtype), axis=-1, keepdims=True)


def _where_known(changed: tf.Tensor, label: tf.Tensor, ignore: int) -> tf.Tensor:
    """A label multiplied by something, but for pixels that have none."""
    return changed if ignore == 0 else tf.where(_is_known(label, ignore), changed, label)


def _resize_known(label: tf.Tensor, size: tf.Tensor, ignore: int) -> tf.Tensor:
    """Bilinear, where every pixel that takes part is known; `ignore` elsewhere."""
    known = tf.image.resize(tf.cast(_is_known(label, ignore), tf.float32), size)
    return tf.where(known > 1 - 1e-5, tf.image.resize(label, size), tf.cast(ignore, tf.float32))


def _resize_lines(label: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Keeps lines of one pixel connected and thin, where the nearest pixel would leave dots.

    A pixel of the result is an edge if a line runs through at least half of its shorter side.
    """
    pixels = tf.cast(tf.shape(label)[:2], tf.float32) / tf.cast(size, tf.float32)  # that become one
    edges = tf.image.resize(tf.cast(label == 1, tf.float32), size, method="area") * tf.reduce_prod(pixels)
    nearest = tf.image.resize(label, size, method="nearest")
    others = tf.where(nearest == 1, tf.zeros_like(nearest), nearest)
    return tf.where(edges >= 0.5 * tf.reduce_min(pixels), tf.ones_like(nearest), others)


def _to_uint8(image: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.round(image), tf.uint8)
