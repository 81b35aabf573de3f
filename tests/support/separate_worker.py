"""Trains some tasks on a saved bank in a process of its own: `separate_worker.py BANK OUT TASK…`."""

import sys
from pathlib import Path

import keras

from support.tiny import TASKS, tiny_data, tiny_model


def main(bank, out, *names):
    tasks = [task for task in TASKS if task.name in names]
    model = tiny_model(tasks, bank=bank)
    model.compile(optimizer=keras.optimizers.SGD(1e-3, momentum=0.9, weight_decay=1e-2))
    images, labels = tiny_data()
    model.fit(images, labels, batch_size=4, epochs=2, shuffle=False, verbose=0)
    for name in names:
        model.save_task(name, Path(out) / f"{name}.rctask")


if __name__ == "__main__":
    main(*sys.argv[1:])
