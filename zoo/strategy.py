"""How batches are divided among devices and machines."""

import contextlib
import json
import os
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import keras

from rc_keras.base.names import unknown_name

if TYPE_CHECKING:
    import tensorflow as tf

STRATEGIES = ("none", "mirrored", "multi_worker")


def make_strategy(name: str) -> "Strategy":
    """Makes a `Strategy`; before TensorFlow computes anything, which "multi_worker" requires.

    Args:
        name: `"none"`; `"mirrored"`: all GPUs of this machine, or its CPU as two devices, to try things out; or
            `"multi_worker"`: the machines that the environment variable `TF_CONFIG` lists.

    Raises:
        ValueError: for an unknown name, or a missing or wrong `TF_CONFIG`.
        RuntimeError: on another backend than TensorFlow, or if it is too late to divide the CPU.
    """
    if name not in STRATEGIES:
        raise unknown_name("strategy", name, STRATEGIES)
    if name == "none":
        return Strategy()
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "`tf.distribute` needs Keras on TensorFlow; on JAX call `keras.distribution.set_distribution("
            f"keras.distribution.DataParallel())` instead. Received: backend {keras.backend.backend()!r}"
        )
    import tensorflow as tf

    if name == "multi_worker":
        _check_cluster(os.environ.get("TF_CONFIG"))
        return Strategy(tf.distribute.MultiWorkerMirroredStrategy())
    if tf.config.list_physical_devices("GPU"):
        return Strategy(tf.distribute.MirroredStrategy())
    cpu = tf.config.list_physical_devices("CPU")[0]
    if not tf.config.get_logical_device_configuration(cpu):
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        try:
            tf.config.set_logical_device_configuration(cpu, two)
        except RuntimeError as error:
            raise RuntimeError(
                "Without a GPU the strategy 'mirrored' divides the CPU, and must be made before TensorFlow computes "
                f"anything. Received: {error}"
            ) from error
    return Strategy(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))


class Strategy:
    """A `tf.distribute` strategy, or none, with what a run needs to know of it.

    Args:
        strategy: the `tf.distribute.Strategy`, or `None`.
    """

    def __init__(self, strategy: "tf.distribute.Strategy | None" = None) -> None:
        self._strategy = strategy
        resolver = getattr(strategy, "cluster_resolver", None)
        workers = resolver.cluster_spec().as_dict() if resolver is not None else {}
        self.num_workers = max(sum(len(workers.get(kind, ())) for kind in ("chief", "worker")), 1)
        self.num_replicas = 1 if strategy is None else strategy.num_replicas_in_sync
        self.is_chief = (
            resolver is None
            or self.num_workers == 1
            or resolver.task_type == "chief"
            or ("chief" not in workers and resolver.task_id == 0)
        )

    def scope(self) -> AbstractContextManager[Any]:
        """The context in which models are made and compiled."""
        return contextlib.nullcontext() if self._strategy is None else self._strategy.scope()

    def distribute(self, batches: "tf.data.Dataset") -> "tf.data.Dataset":
        """What `fit` and `evaluate` are given for batches of the whole: each replica gets its part of each.

        Args:
            batches: `tf.data.Dataset` whose batches divide among the replicas; the same on every worker.
        """
        if self._strategy is None:
            return batches
        import tensorflow as tf

        # Batches are divided, never files: then the workers together see what one device would see.
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
        return batches.with_options(options)

    def wait(self) -> None:
        """Returns when every worker has called it."""
        if self._strategy is not None and self.num_workers > 1:
            import tensorflow as tf

            together = self._strategy.run(lambda: tf.distribute.get_replica_context().all_reduce("SUM", tf.ones(())))
            self._strategy.experimental_local_results(together)[0].numpy()


def _check_cluster(text: str | None) -> None:
    example = '{"cluster": {"worker": ["host1:12345", "host2:12345"]}, "task": {"type": "worker", "index": 0}}'
    try:
        config = json.loads(text or "")
        kind, index = config["task"]["type"], int(config["task"]["index"])
        if kind not in ("chief", "worker") or not 0 <= index < len(config["cluster"][kind]):
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise ValueError(
            f"The environment variable TF_CONFIG must describe the cluster and this worker, like {example}. "
            f"Received: TF_CONFIG={text!r}"
        ) from None
