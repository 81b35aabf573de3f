"""Which share of a training step is spent on waiting for data.

    python benchmarks/input_pipeline.py [--dataset scenes | nyud_mt] [--data_dir DIR] [--size 128] [--rounds 3]

A step of a ResNet-18 with four tasks, method rcm, decoders of the laptop recipes' size, is timed with batches from
`training_batches` and with one batch that lies ready. The two take turns; each turn starts a fresh stream, and its
first steps are not counted, so nothing is served from what was prepared while the other had its turn. Prints the median
of each, the quartiles, and

    share = (fed by the pipeline - fed by the ready batch) / fed by the pipeline

which must stay below 10 %.
"""

import os
import statistics
import time
from typing import TYPE_CHECKING

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

from absl import app, flags

if TYPE_CHECKING:
    import tensorflow as tf
    import tensorflow_datasets as tfds

    from rc_keras import MultiTaskModel, Task
    from rc_keras.zoo.preprocessing import Preprocessing

_DATASET = flags.DEFINE_enum("dataset", "scenes", ["scenes", "nyud_mt"], "Data set.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS keeps prepared data; its own folder by default.")
_SIZE = flags.DEFINE_integer("size", 128, "Height and width of the images, pixels.", lower_bound=32)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 8, "Images in a batch.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Turns of each of the two.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 4, "Steps counted in a turn.", lower_bound=1)

UNCOUNTED = 2


def open_dataset() -> "tuple[tfds.core.DatasetBuilder, list[Task], Preprocessing]":
    """Returns (builder, tasks, preprocessing)."""
    from rc_keras import nyud
    from rc_keras.zoo.preprocessing import Preprocessing

    size = (_SIZE.value, _SIZE.value)
    if _DATASET.value == "nyud_mt":
        from rc_keras.zoo.datasets.nyud_mt import Builder

        return Builder(data_dir=_DATA_DIR.value), nyud(), Preprocessing(size, resize=size)

    from rc_keras.zoo.datasets.scenes.scenes_dataset_builder import Builder, ScenesConfig
    from rc_keras.zoo.rendering.tasks import scenes_tasks

    config = ScenesConfig(name=f"benchmark_{_SIZE.value}", size=_SIZE.value, train=64, validation=1)
    builder = Builder(config=config, data_dir=_DATA_DIR.value)
    builder.download_and_prepare()
    tasks = [task for task in scenes_tasks() if task.name in ("semseg", "edge", "normals", "depth")]
    return builder, tasks, Preprocessing(size)


def time_steps(model: "MultiTaskModel", batches: "tf.data.Dataset") -> list[float]:
    """Seconds of each counted step, waiting for its batch included."""
    batches = iter(batches)
    seconds = []
    for _ in range(UNCOUNTED + _STEPS.value):
        start = time.perf_counter()
        images, labels = next(batches)
        model.train_on_batch(images, labels)
        seconds.append(time.perf_counter() - start)
    return seconds[UNCOUNTED:]


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Arguments must be flags. Received: {argv[1:]}")
    import tensorflow as tf

    import rc_keras
    from rc_keras.zoo.preprocessing import training_batches

    builder, tasks, preprocessing = open_dataset()
    decoder = rc_keras.decoders.DeepLabV3Plus(width=64, low_level_width=24)
    model = rc_keras.build(tasks, decoder=decoder, image_shape=(*preprocessing.crop, 3), seed=0)
    model.compile(optimizer="sgd")
    stream = training_batches(builder, "train", tasks, preprocessing, _BATCH_SIZE.value, seed=0)
    batch = next(iter(stream))
    ready = tf.data.Dataset.from_tensors(batch).repeat()
    start = time.perf_counter()
    for _ in stream.take(20):
        pass
    alone = (time.perf_counter() - start) / 20
    print(f"the pipeline alone     {alone:.4f} s a batch", flush=True)
    model.train_on_batch(*batch)  # traces the step
    fed, rested = [], []
    for _ in range(_ROUNDS.value):
        fed += time_steps(model, stream)
        rested += time_steps(model, ready)
        print(f"a turn: {statistics.median(fed):.4f} s fed, {statistics.median(rested):.4f} s ready", flush=True)
    for name, seconds in (("fed by the pipeline", fed), ("fed by a ready batch", rested)):
        low, middle, high = statistics.quantiles(seconds, n=4)
        print(f"{name:<22} median {middle:.4f} s, quartiles {low:.4f} {high:.4f}, {len(seconds)} steps")
    share = 1 - statistics.median(rested) / statistics.median(fed)
    print(f"share of waiting       {share:.1%} (must be below 10 %)")


if __name__ == "__main__":
    app.run(main)
