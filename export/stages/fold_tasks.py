"""Second stage: every task becomes the plain network that it amounts to."""

import keras
import numpy as np

from rc_keras.export.folding.concat_parts import bank_kernels
from rc_keras.export.folding.direct_conv2d import DirectConv2D
from rc_keras.export.folding.endpoint import endpoint
from rc_keras.export.folding.fold import fold, resized
from rc_keras.export.folding.folded_network import ALL, FoldedNetwork
from rc_keras.export.formats.description import description
from rc_keras.export.formats.format import Format
from rc_keras.export.stages.check import Request
from rc_keras.network.branch import template_layers


def fold_tasks(format: Format, request: Request) -> FoldedNetwork:
    """Folds the tasks of a request, on one bank, and describes what a file of the format will answer."""
    options = request.options
    bank: dict[str, keras.Operation] = {}
    models = {}
    for name, task in request.tasks.items():
        branch = resized(request.model.branch(name), request.image_shape)
        folded = fold(branch, bank, merged=options.mode == "merged")
        models[name] = endpoint(folded, task, options.segmentation, options.resolution)
    convolutions = request.model.bank.convolutions
    return FoldedNetwork(
        models=models,
        bank=bank,
        kernels={
            **{name: np.array(layer.kernel) for name, layer in bank.items() if isinstance(layer, DirectConv2D)},
            **bank_kernels(convolutions.values(), bank),
        },
        precision=options.precision,
        image_shape=request.image_shape,
        batch_size=options.batch_size,
        calibration=request.calibration | _of_all(request),
        description=request.description,
        self_description=description(
            request.tasks, models, request.model.bank.fingerprint, options, request.image_shape, format.place
        ),
        verbose=options.verbose,
        joint=options.joint,
        template={name: template_layers(request.model.bank, task) for name, task in request.tasks.items()},
    )


def _of_all(request: Request) -> dict[str, list[np.ndarray]]:
    """The images to calibrate the network of all tasks on: those of every task, each once."""
    if not request.options.joint or not request.calibration:
        return {}
    images = {id(image): image for images in request.calibration.values() for image in images}
    return {ALL: list(images.values())}
