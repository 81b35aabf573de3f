"""The plain network that becomes the filter bank, pretrained to name what is in a picture."""

from collections.abc import Mapping

import keras
import numpy as np

import rc_keras
from rc_keras.zoo.demo.config import DemoConfig
from rc_keras.zoo.demo.data import training_batches
from rc_keras.zoo.demo.training import make_optimizer
from rc_keras.zoo.rendering.classes import CLASSES

# Floor, wall and ceiling are in every room.
OBJECTS = tuple(name for name in CLASSES if name not in ("floor", "wall", "ceiling"))
_VISIBLE = 0.002  # of the image


def pretrain_backbone(
    config: DemoConfig, training: Mapping[str, np.ndarray], validation: Mapping[str, np.ndarray]
) -> tuple[keras.Model, float]:
    """Pretrains a ResNet as an image classifier: which of `OBJECTS` are in the picture?

    The pixels of the labels are never shown to it, only whether an object is there.

    Args:
        config: the `DemoConfig`.
        training, validation: `{feature: array}`, see `Rooms`.

    Returns:
        `(backbone, auc)`: the encoder, and the area under the ROC curve on the validation images, the mean
        over the objects.
    """
    shape = (config.size, config.size, 3)
    backbone = rc_keras.backbones.resnet(config.depths, config.widths, image_shape=shape, seed=config.seed)
    pooled = keras.layers.GlobalAveragePooling2D()(backbone.output["high_level"])
    classifier = keras.Model(backbone.input, keras.layers.Dense(len(OBJECTS))(pooled))
    classifier.compile(
        make_optimizer(config, config.pretraining_images, config.pretraining_epochs),
        keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.AUC(name="auc", multi_label=True, from_logits=True)],
    )
    labelled = {"image": training["image"], "objects": name_objects(training["semseg"])}
    batches = training_batches(labelled, ["objects"], config).map(lambda image, labels: (image, labels["objects"]))
    classifier.fit(batches, epochs=config.pretraining_epochs, verbose=2, shuffle=False)
    _, auc = classifier.evaluate(validation["image"], name_objects(validation["semseg"]), verbose=0)
    return backbone, auc


def name_objects(semseg: np.ndarray) -> np.ndarray:
    """Which of `OBJECTS` are visible, `(images, objects)` float32 of 0 and 1, from `(images, height, width, 1)` ids."""
    areas = [np.mean(semseg == CLASSES.index(name), axis=(1, 2, 3)) for name in OBJECTS]
    return (np.stack(areas, axis=-1) >= _VISIBLE).astype("float32")
