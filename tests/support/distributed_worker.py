"""Trains a small model under a strategy and writes what came out.

Usage: python distributed_worker.py none|mirrored|multi_worker OPTIMIZER OUT_NPZ
"""

import json
import os
import sys

import keras
import numpy as np
import tensorflow as tf

import rc_keras
from rc_keras.files.named_weights import named_variables
from rc_keras.zoo.strategy import make_strategy

STRATEGY = make_strategy(sys.argv[1])  # before anything is computed

from support.tiny import TASKS, tiny_data, tiny_model  # noqa: E402

STEPS, BATCH = 10, 8
OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
    "adamw": lambda: keras.optimizers.AdamW(1e-3, weight_decay=0.1, global_clipnorm=1.0),
    "by_task": lambda: {"semseg": OPTIMIZERS["sgd"](), "depth": OPTIMIZERS["adamw"]()},
}


def batches():
    """Labels are ignored here and there, unevenly over the halves of a batch, and in one half altogether."""
    images, labels = tiny_data(STEPS * BATCH)
    labels = {name: labels[name].copy() for name in ("semseg", "depth")}
    labels["semseg"][::3, :20] = 255
    labels["depth"][1::BATCH, 5:] = 0
    labels["semseg"][: BATCH // 2] = 255  # a whole replica in the first step
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(BATCH, drop_remainder=True)


def moving_statistics():
    """Those of one norm after one batch of 8 pooled maps, of which the first replica has 3, with and without a mask."""
    values = tf.constant(np.random.default_rng(0).normal(2.0, 3.0, (BATCH, 1, 1, 5)), "float32")
    mask = tf.reshape(tf.range(BATCH) % 4 > 0, (BATCH, 1, 1))
    with STRATEGY.scope():
        norms = {name: rc_keras.layers.BatchNormalization(momentum=0.9) for name in ("norm", "masked_norm")}
        for norm in norms.values():
            norm.build(values.shape)
        strategy = tf.distribute.get_strategy()

    @tf.function
    def step():
        context = tf.distribute.get_replica_context()
        start = 3 * context.replica_id_in_sync_group
        part = slice(start, BATCH if context.num_replicas_in_sync == 1 else 3 + 5 * start // 3)
        norms["norm"](values[part], training=True)
        norms["masked_norm"](values[part], mask=mask[part], training=True)

    strategy.run(step)
    weights = {f"{name}/{weight.name}": weight for name, norm in norms.items() for weight in norm.weights}
    return {name: keras.ops.convert_to_numpy(weight) for name, weight in weights.items()}


class Logs(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.steps = []

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append({name: float(value) for name, value in logs.items()})


def main():
    with STRATEGY.scope():
        model = tiny_model([TASKS[0], TASKS[3]])
        model.compile(optimizer=OPTIMIZERS[sys.argv[2]]())
    logs = Logs()
    data = STRATEGY.distribute(batches())
    history = model.fit(data, callbacks=[logs], verbose=0).history
    measured = model.evaluate(data, verbose=0, return_dict=True)
    out = {f"step/{i}/{name}": value for i, step in enumerate(logs.steps) for name, value in step.items()}
    out |= {f"epoch/{name}": values[-1] for name, values in history.items()}
    out |= {f"evaluate/{name}": value for name, value in measured.items()}
    layers = [layer for part in model.layers for layer in part.layers]
    for name, variable in named_variables(layers).items():
        replicas = getattr(variable.value, "values", [variable.value])
        values = [replica.numpy() for replica in replicas]
        for value in values[1:]:
            np.testing.assert_array_equal(value, values[0], err_msg=f"{name} differs between replicas")
        out[f"weight/{name}"] = values[0]
    out |= moving_statistics()
    out["predictions"] = np.array(model.predict(tiny_data(4, seed=1)[0], verbose=0, batch_size=4)["depth"])
    path = sys.argv[3]
    if STRATEGY.is_chief:
        model.save(path.replace(".npz", ".keras"))
    STRATEGY.wait()
    rank = json.loads(os.environ["TF_CONFIG"])["task"]["index"] if "TF_CONFIG" in os.environ else 0
    np.savez(path.replace(".npz", f"-{rank}.npz"), **out)


if __name__ == "__main__":
    main()
