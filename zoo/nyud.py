"""Real images: three tasks of NYUD_MT on an ImageNet ResNet-18, then a fourth, then one file with all of them.

Usage:
    python -m rc_keras.zoo.nyud --manual_dir DIR --weights resnet18.pth [--data_dir DIR] [--out nyud] [--epochs 4]

`--manual_dir` holds the archive `NYUD_MT.zip` or its folder `NYUD_MT`, `--weights` is torchvision's ResNet-18. Images
are reduced to 96x128. Two minutes to prepare the data, the first time; then about two minutes an epoch on two cores.
Prints each task's metric on the validation split beside that of a predictor that looks at no image, and leaves
`model.keras`, `model.tflite` with its report, and `results.json`.
"""

import json
import pathlib

import numpy as np
from absl import app, flags

HEIGHT, WIDTH = 96, 128
BATCH_SIZE = 8
LEARNING_RATE = 6e-4
RESPONSE_IMAGES = 64

_MANUAL_DIR = flags.DEFINE_string("manual_dir", None, "Folder of the archive NYUD_MT.", required=True)
_WEIGHTS = flags.DEFINE_string("weights", None, "Weights of a ResNet-18: .pth, .safetensors or .npz.", required=True)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS keeps the prepared data; its own folder by default.")
_OUT = flags.DEFINE_string("out", "nyud", "Folder of the results.")
_EPOCHS = flags.DEFINE_integer("epochs", 4, "Epochs of the three tasks, and of the fourth.", lower_bound=1)


def load_split(split, manual_dir, data_dir=None):
    """Reads a split at the reduced size.

    Args:
        split: `"train"`, `"validation"`, or a part like `"train[:8]"`.
        manual_dir: folder of the archive.
        data_dir: where TFDS keeps the prepared data.

    Returns:
        `{feature: array}`: `image` uint8, `semseg` and `edge` uint8, `normals` and `depth` float32, each
        `(images, 96, 128, channels)`. Labels are resized to the nearest pixel.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    from rc_keras.zoo.datasets.nyud_mt.nyud_mt_dataset_builder import Builder

    builder = Builder(data_dir=data_dir)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual_dir))

    def resize(example):
        resized = {}
        for name in ("image", "semseg", "edge", "normals", "depth"):
            method = "area" if name == "image" else "nearest"
            pixels = tf.image.resize(example[name], (HEIGHT, WIDTH), method=method)
            resized[name] = tf.cast(tf.round(pixels) if name == "image" else pixels, example[name].dtype)
        return resized

    rows = list(tfds.as_numpy(builder.as_dataset(split=split, shuffle_files=False).map(resize, tf.data.AUTOTUNE)))
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def train(train_split, validation_split, weights, out, epochs):
    """Trains three tasks, adds the fourth, measures and exports.

    Args:
        train_split, validation_split: what `load_split` answers.
        weights: file of the ResNet-18's weights.
        out: folder of the results; made if it is missing.
        epochs: epochs of the three tasks, and of the fourth.

    Returns:
        `{task: {"metric": name, "no image": number, "trained": number}}`.
    """
    import keras

    import rc_keras
    from rc_keras.whole_files import write_whole
    from rc_keras.zoo.demo.baselines import measure_baseline
    from rc_keras.zoo.demo.data import mirrored_batches, validation_batches

    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    tasks = {task.name: task for task in rc_keras.nyud()}
    fourth = tasks.pop("edge")
    model = rc_keras.build(
        tasks=list(tasks.values()),
        decoder=rc_keras.decoders.DeepLabV3Plus(width=64, low_level_width=24),
        image_shape=(HEIGHT, WIDTH, 3),
        weights=weights,
        response_images=train_split["image"][:RESPONSE_IMAGES],
        seed=0,
    )
    steps = max(len(train_split["image"]) // BATCH_SIZE, 1) * epochs
    schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    model.compile(optimizer=keras.optimizers.AdamW(schedule, weight_decay=1e-3, global_clipnorm=5.0))
    model.fit(mirrored_batches(train_split, list(tasks), BATCH_SIZE, seed=0), epochs=epochs, verbose=2)

    before = model.predict(validation_split["image"], verbose=0)
    model.add_task(fourth)
    model.fit(mirrored_batches(train_split, [fourth.name], BATCH_SIZE, seed=0), epochs=epochs, verbose=2)
    after = model.predict(validation_split["image"], verbose=0)
    changed = sum(int(np.count_nonzero(before[name] != after[name])) for name in before)

    measured = model.evaluate(validation_batches(validation_split, model.tasks), verbose=0, return_dict=True)
    results = {}
    for name in model.tasks:
        metric = model.task(name).make_metrics()[0].name
        guess, baseline = measure_baseline(model.task(name), train_split[name], validation_split[name])
        results[name] = {"metric": metric, "no image": baseline, "trained": float(measured[f"{name}_{metric}"])}
        print(f"{name:<8} {metric:<10} trained {results[name]['trained']:8.4f}   no image {baseline:8.4f} ({guess})")
    print(f"Adding {fourth.name} changed {changed} predicted numbers of {', '.join(before)}.")
    write_whole(out / "results.json", (json.dumps(results, indent=2) + "\n").encode())
    model.save(out / "model.keras")
    model.export(out / "model.tflite", overwrite=True, images=validation_split["image"][:4])
    return results


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Arguments must be flags. Received: {argv[1:]}")
    parts = [load_split(split, _MANUAL_DIR.value, _DATA_DIR.value) for split in ("train", "validation")]
    train(*parts, _WEIGHTS.value, _OUT.value, _EPOCHS.value)


if __name__ == "__main__":
    app.run(main)
