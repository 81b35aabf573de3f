"""Reads named tensors from weight files of any origin; nothing in a file is executed.

What a damaged file makes a library raise is a matter of the library, so every exception is taken for damage.
"""

import io
import os
import zipfile

import h5py
import numpy as np
import safetensors.numpy

from rc_keras.files.torch_file import read_torch_file

# A compressed archive may unpack to this many times its size, or to this many bytes.
_MAX_INFLATION = 16
_MAX_INFLATED_BYTES = 2**28


def read_tensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads all tensors of a weight file.

    * `.pth`, `.pt`: a torch state dict in torch's zip format, e.g. `layer1.0.conv1.weight`.
    * `.safetensors`, `.npz`: arrays under any names.
    * `.weights.h5`: what `keras.Model.save_weights` writes. Such a file numbers the variables of a
      layer, and so do the names here: `<layer name>/<index>`.

    Args:
        path: path of the file. The suffix decides how it is read.

    Returns:
        Dictionary of numpy arrays, possibly read-only, in the file's precision (bfloat16 is widened
        to float32).

    Raises:
        OSError: if there is no such file, or it may not be read.
        ValueError: if the suffix is unknown, or the file is damaged or holds anything but tensors.

    Example:

    >>> tensors = read_tensors("resnet18.pth")
    >>> tensors["conv1.weight"].shape
    (64, 3, 7, 7)
    """
    path = os.fspath(path)
    read = next((read for suffix, read in _READERS.items() if path.endswith(suffix)), None)
    if read is None:
        raise ValueError(f"The suffix of `path` must be one of {list(_READERS)}. Received: path={path}")
    check_readable(path)
    return read(path)


def check_readable(path: str | os.PathLike[str]) -> None:
    """Raises the `OSError` that says why a file cannot be read; libraries take every reason for a missing file."""
    with open(path, "rb"):
        pass


def keras_datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Finds the weights in an open `.weights.h5` file by the names of their layers.

    Keras numbers layers within their class (`conv2d_3`) and keeps their names aside; the answer
    goes by name, so that it does not depend on the order of layers. Weights of an optimizer are
    left out.

    Args:
        file: an open `h5py.File`.

    Returns:
        Dictionary from `<layer name>/<index>` to `h5py.Dataset`; layers inside a layer or model
        extend the path.

    Raises:
        ValueError: if the file was not written by Keras 3 with its layers' names, or points outside
            of itself.
    """
    if "layers" not in file:
        raise ValueError("it holds no group 'layers': only what Keras 3's `save_weights` writes is read")
    datasets = {}
    visited = set()

    def visit(group: h5py.Group, key: tuple[str, ...], named: bool) -> None:
        address = h5py.h5o.get_info(group.id).addr
        if address in visited:
            raise ValueError(f"group '{group.name}' is linked twice")
        visited.add(address)
        for child in group:
            member = _own_member(group, child)
            if isinstance(member, h5py.Dataset):
                name = "/".join((*key, child))
                if name in datasets:
                    raise ValueError(f"two weights are named '{name}'")
                datasets[name] = member
            elif named:
                visit(member, (*key, _layer_name(member)), named=False)
            elif child in ("layers", "vars"):
                visit(member, key, named=child == "layers")
            else:
                visit(member, (*key, child), named=False)

    visit(_own_member(file, "layers"), (), named=True)
    return datasets


def _own_member(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    """Answers a member of an HDF5 group, but not through links, which may lead to other files."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"'{name}' in group '{group.name}' is a link")
    member = group[name]
    if isinstance(member, h5py.Dataset):
        if member.external or member.is_virtual:
            raise ValueError(f"dataset '{member.name}' keeps its data in another file")
        if member.dtype.kind not in "fiub":
            raise ValueError(f"dataset '{member.name}' has dtype {member.dtype}")
        if member.nbytes > member.id.get_storage_size():
            raise ValueError(f"dataset '{member.name}' claims {member.nbytes} bytes, more than are stored")
    elif not isinstance(member, h5py.Group):
        raise ValueError(f"'{name}' in group '{group.name}' is neither a group nor a dataset")
    return member


def _layer_name(group: h5py.Group) -> str:
    name = _own_member(group, "vars").attrs.get("name") if "vars" in group else None
    if not isinstance(name, str):
        raise ValueError(
            f"group '{group.name}' does not name its layer, as early versions of Keras 3 did "
            "not. Load it with `model.load_weights` into the model it was saved from, and save it "
            "again with Keras >= 3.15"
        )
    return name


def _read_safetensors(path: str) -> dict[str, np.ndarray]:
    try:
        tensors = safetensors.numpy.load_file(path)
    except Exception as error:
        raise ValueError(f"{path} is not a safetensors file, or is damaged: {error}") from error
    # numpy has no bfloat16 of its own: its name is all that tells it.
    return {
        name: array.astype("float32") if array.dtype.name == "bfloat16" else array for name, array in tensors.items()
    }


def _read_npz(path: str) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            if size > max(_MAX_INFLATION * os.path.getsize(path), _MAX_INFLATED_BYTES):
                raise ValueError(f"it would unpack to {size} bytes")
            # Read whole, which compares checksums; `np.load` believes a header before that.
            contents = {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}
            if len(contents) < len(archive.namelist()):
                raise ValueError("two entries have the same name")
        tensors = {
            name: np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
            for name, content in contents.items()
        }
    except Exception as error:
        raise ValueError(f"{path} is not an .npz file of plain arrays, or is damaged: {error}") from error
    others = [name for name, array in tensors.items() if array.dtype.kind not in "fiub"]
    if others:
        raise ValueError(f"{path} holds entries that are not arrays of numbers: {others}")
    return tensors


def _read_keras_h5(path: str) -> dict[str, np.ndarray]:
    try:
        with h5py.File(path, "r") as file:
            return {name: dataset[()] for name, dataset in keras_datasets(file).items()}
    except Exception as error:
        raise ValueError(f"{path} is not a file of Keras weights, or is damaged: {error}") from error


_READERS = {
    ".pth": read_torch_file,
    ".pt": read_torch_file,
    ".safetensors": _read_safetensors,
    ".npz": _read_npz,
    ".weights.h5": _read_keras_h5,
}
