"""Export to SavedModel: a signature for each task and one for all, the bank in it once."""

import contextlib
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from rc_keras.base.keras_types import Tensor
from rc_keras.export.folding.folded_network import ALL, FoldedNetwork
from rc_keras.export.folding.graphs import concrete_functions
from rc_keras.export.formats.format import Format, Written
from rc_keras.export.formats.metadata import to_json
from rc_keras.export.formats.saved_model.runtime import DESCRIPTION, METADATA, SavedModelNetwork

if TYPE_CHECKING:
    import tensorflow as tf

    Converted: TypeAlias = tuple[tf.Module, dict[str, tf.types.experimental.ConcreteFunction]]


class SavedModel(Format):
    """Writes a SavedModel with one signature for each task, and `all` for all of them; all share the stored bank.

    In `all`, what the tasks have in common is computed once; `joint=False` leaves it out.

    A signature takes `image`, float32 `(batch_size, height, width, channels)` in 0..255, and returns `Task.activate` of
    the prediction under the name of the task. Plain TensorFlow runs it, without Keras or this package. The folder is
    read back and compared with the model before it appears under its name, in one step also where another one is
    replaced (see `rc_keras.files.whole_folder.switch`); `report.json`, `manifest.json`, the files with their digests,
    `description.json`, what it says about itself (see `rc_keras.export.formats.description`), and
    `assets.extra/rc_keras.json`, the same for this package, stand inside.

    Example:

    >>> rc_keras.export.saved_model(model, "model")
    >>> tf.saved_model.load("model").signatures["edge"](image=image)["edge"]
    """

    name = "saved_model"
    keyword = "tf_saved_model"
    title = "SavedModel"
    summary = "a folder with a signature for each task and one for all, for plain TensorFlow"
    looks = "one with saved_model.pb"
    unknown_options = ("quantize", "representative_data")
    defaults = {"batch_size": None, "joint": True}
    runs_in = "TensorFlow"
    writing = "Writing the SavedModel"
    reading = "Reading it back"

    def check_target(self, path: str | os.PathLike, overwrite: bool = False, tasks: list[str] | None = None) -> str:
        """Also raises `FileExistsError` for a folder with other files, which would be lost."""
        folder = super().check_target(path, overwrite, tasks)
        if os.path.isdir(folder) and os.listdir(folder) and not os.path.exists(os.path.join(folder, METADATA)):
            raise FileExistsError(
                "`directory` must be free, or hold an export of this package that is replaced. Received: "
                f"directory={folder!r}, with other files"
            )
        return folder

    def convert(self, network: FoldedNetwork) -> "Converted":
        """The module with the weights, and the functions of the tasks."""
        return concrete_functions(network)

    def write(self, converted: "Converted", network: FoldedNetwork, path: str) -> None:
        import tensorflow as tf

        module, functions = converted
        try:
            tf.saved_model.save(module, path, signatures=functions)
        except tf.errors.OpError as error:  # TensorFlow's way to say that a disk is full or a folder gone
            raise OSError(f"The SavedModel must be writable. Received: {error.message}") from error
        for name, content in ((METADATA, network.description), (DESCRIPTION, network.self_description)):
            os.makedirs(os.path.dirname(os.path.join(path, name)), exist_ok=True)
            with open(os.path.join(path, name), "wb") as file:
                file.write(to_json(content))

    @contextlib.contextmanager
    def read(self, converted: "Converted", network: FoldedNetwork, path: str, target: str) -> Iterator[Written]:
        import tensorflow as tf

        signatures = tf.saved_model.load(path).signatures
        stored, size = _stored_arrays(path), _folder_size(path)
        graphs = {name: function.graph for name, function in converted[1].items()}
        yield Written(
            run=lambda name, image: _run(signatures[name], image, network.batch_size)[name],
            operators={name: _count_operators(graph) for name, graph in graphs.items()},
            stored_once=sum(sum(_same(k, array) for array in stored) == 1 for k in network.kernels.values()),
            file_bytes=size,
            update_bytes=dict.fromkeys(network.models, size),
            notes=("A SavedModel is one whole: any update ships all of it.",),
            run_all=(lambda image: _run(signatures[ALL], image, network.batch_size)) if network.joint else None,
            joint_bytes=graphs[ALL].as_graph_def().ByteSize() if network.joint else 0,
        )

    def recognizes(self, path: pathlib.Path) -> bool:
        return (path / "saved_model.pb").exists()

    def open(self, path: pathlib.Path, threads: int | None = None, **options: Any) -> SavedModelNetwork:
        return SavedModelNetwork(path, threads=threads, **options)


def _run(
    signature: Callable[..., dict[str, Tensor]], image: np.ndarray, batch_size: int | None
) -> dict[str, np.ndarray]:
    """The last answers of a batch of the image: of two, where any number is allowed."""
    import tensorflow as tf

    answers = signature(image=tf.constant(np.repeat(image, batch_size or 2, axis=0)))
    return {name: answer.numpy()[-1:] for name, answer in answers.items()}


def _count_operators(graph: "tf.Graph") -> dict[str, int]:
    counts: dict[str, int] = {}
    for operation in graph.get_operations():
        if operation.type not in ("Const", "Identity", "NoOp", "Placeholder", "ReadVariableOp"):
            counts[operation.type] = counts.get(operation.type, 0) + 1
    return dict(sorted(counts.items()))


def _stored_arrays(folder: str) -> list[np.ndarray]:
    import tensorflow as tf

    reader = tf.train.load_checkpoint(os.path.join(folder, "variables", "variables"))
    names = [name for name, shape in reader.get_variable_to_shape_map().items() if len(shape) == 4]
    return [reader.get_tensor(name) for name in names]


def _same(kernel: np.ndarray, array: np.ndarray) -> bool:
    return kernel.shape == array.shape and np.array_equal(kernel, array)


def _folder_size(folder: str) -> int:
    return sum(os.path.getsize(os.path.join(root, name)) for root, _, names in os.walk(folder) for name in names)
