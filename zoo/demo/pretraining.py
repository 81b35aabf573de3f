"""The plain network that becomes the filter bank, pretrained on rooms that the tasks never see."""

import keras

import rc_keras
from rc_keras.zoo.datasets.scenes.tasks import scenes_tasks
from rc_keras.zoo.demo.data import training_batches
from rc_keras.zoo.demo.training import make_decoder, make_optimizer


def pretrain_backbone(config, training, validation):
    """Pretrains a ResNet, with a decoder that is thrown away, to say which class each pixel shows.

    Args:
        config: the `DemoConfig`.
        training, validation: `{feature: array}`, see `Rooms`.

    Returns:
        `(backbone, mean_iou)`: the encoder, and the mean IoU of the whole network on the validation images.
    """
    (task,) = [task for task in scenes_tasks() if task.name == "semseg"]
    shape = (config.size, config.size, 3)
    backbone = rc_keras.backbones.resnet(config.depths, config.widths, image_shape=shape, seed=config.seed)
    logits = make_decoder(config)(backbone.input, backbone.output, task.channels, "pretraining_", config.seed)
    network = keras.Model(backbone.input, logits)
    optimizer = make_optimizer(config, config.pretraining_images, config.pretraining_epochs)
    network.compile(optimizer, task.make_loss(), metrics=task.make_metrics())
    batches = training_batches(training, ["semseg"], config).map(lambda images, labels: (images, labels["semseg"]))
    network.fit(batches, epochs=config.pretraining_epochs, verbose=2, shuffle=False)
    _, mean_iou = network.evaluate(validation["image"], validation["semseg"], verbose=0)
    return backbone, float(mean_iou)
