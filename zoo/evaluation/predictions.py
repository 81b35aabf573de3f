"""A picture of what a model answers: images, labels and predictions in a grid."""

import numpy as np

from rc_keras.zoo.picture_grid import write_grid
from rc_keras.zoo.preprocessing import crop_back


def write_predictions(path, tasks, images, labels, predictions, boxes):
    """Draws one row for each image: the image, then label and prediction of each task.

    Args:
        path: of the PNG.
        tasks: the `Task`s.
        images: `(n, height, width, 3)` uint8.
        labels: `{task: labels}`.
        predictions: `{task: raw predictions}`.
        boxes: `(n, 4)`, the part of each image that is not padding: top, left, height, width.
    """
    titles = ["image"]
    rows = [[crop_back(image, box)] for image, box in zip(images, boxes, strict=True)]
    for task in tasks:
        titles += [f"{task.name}: label", f"{task.name}: prediction"]
        scale = {"depth_range": (0.0, max(float(np.max(labels[task.name])), 1.0))} if task.kind == "depth" else {}
        truth = task.draw_label(labels[task.name], **scale)
        answer = task.draw(predictions[task.name], **scale)
        for row, box, *pictures in zip(rows, boxes, truth, answer, strict=True):
            row += [crop_back(picture, box) for picture in pictures]
    write_grid(path, titles, rows)
