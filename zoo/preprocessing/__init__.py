"""From stored examples to the batches a model is trained and measured on.

For a `tf.data` pipeline of your own, `augmenter` makes the augmentation of the recipes, as `Preprocessing` says it.
"""

from rc_keras.zoo.preprocessing.augmenter import augmenter
from rc_keras.zoo.preprocessing.contact_sheet import write_contact_sheet
from rc_keras.zoo.preprocessing.evaluation_stream import check_sizes, crop_back, evaluation_batches, is_padded
from rc_keras.zoo.preprocessing.labelled_images import spread
from rc_keras.zoo.preprocessing.preprocessing import Preprocessing
from rc_keras.zoo.preprocessing.training_stream import steps_per_epoch, training_batches, training_ids

__all__ = [
    "Preprocessing",
    "augmenter",
    "check_sizes",
    "crop_back",
    "evaluation_batches",
    "is_padded",
    "spread",
    "steps_per_epoch",
    "training_batches",
    "training_ids",
    "write_contact_sheet",
]
