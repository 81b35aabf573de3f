"""Damaged, missing and unreadable files of weights: one clear error that names the file, and nothing loaded."""

import contextlib
import os
import zipfile

import keras
import numpy as np
import pytest
import safetensors.numpy
from support.tiny import TASKS, assert_same_bits, state, tiny_model

from rc_keras.files.tensor_files import read_tensors

KINDS = (".npz", "compressed.npz", ".safetensors", ".pth", ".weights.h5")
# More than a zip file's reader takes at a time: the header of an array is parsed before the checksum is compared.
ARRAYS = {"a.weight": np.arange(3000, dtype="float32").reshape(100, 30), "b": np.arange(3)}


def write(folder, kind):
    path = folder / f"whole{kind}"
    if kind == ".npz":
        np.savez(path, **ARRAYS)
    elif kind == "compressed.npz":
        np.savez_compressed(path, **ARRAYS)
    elif kind == ".safetensors":
        safetensors.numpy.save_file(ARRAYS, path)
    elif kind == ".pth":
        torch = pytest.importorskip("torch", reason="torch writes the file that is read here")
        torch.save({name: torch.from_numpy(value) for name, value in ARRAYS.items()}, path)
    else:
        keras.Sequential([keras.Input((30,)), keras.layers.Dense(9, name="dense")]).save_weights(path)
    return path


def damaged(content, generator):
    """The content with bytes changed, cut off or cut out; mostly near an end, where headers and directories are."""
    content = bytearray(content)
    size = len(content)
    place = int(generator.choice([generator.integers(min(size, 300)), -generator.integers(1, 300), size // 2])) % size
    match generator.integers(4):
        case 0:
            content[place] ^= 1 << int(generator.integers(8))
        case 1:
            content[place : place + 3] = generator.bytes(3)
        case 2:
            del content[place : place + int(generator.integers(1, 9))]
        case 3:
            del content[place:]
    return bytes(content)


@pytest.mark.parametrize("kind", KINDS)
def test_damage_of_any_kind_is_a_clear_error(tmp_path, kind):
    content = write(tmp_path, kind).read_bytes()
    generator = np.random.default_rng(0)
    path = tmp_path / f"damaged{kind}"
    refused = 0
    for _ in range(200):
        path.write_bytes(damaged(content, generator))
        try:
            read_tensors(path)
        except (OSError, ValueError) as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 50


def test_damaged_packs_are_refused(tmp_path):
    model, path = tiny_model(TASKS[:1]), tmp_path / "x.rctask"
    model.save_task("semseg", path)
    before, content = state(model.branch("semseg")), path.read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(200):
        change = damaged(content, generator)
        if change == content:
            continue
        path.write_bytes(change)
        with pytest.raises(ValueError) as caught:
            model.load_task(path, overwrite=True)
        assert str(path) in str(caught.value)
    assert_same_bits(state(model.branch("semseg")), before)


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (100, 30",  # a tokenizer's error
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999, 99999999), }",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (100, 30), }",
        b"{'descr': '<f4', 'fortran_order': 3, 'shape': (100, 30), }",
        b"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3000,), }",
        b"(" * 900,
        b"\xff" * 64,
    ],
)
def test_arrays_with_a_wrong_header_are_refused(tmp_path, header):
    """With the right checksum, as whoever writes such a file would give it."""
    header += b" " * 8 + b"\n"
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        magic = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
        archive.writestr("w.npy", magic + header + ARRAYS["a.weight"].tobytes())
    with pytest.raises(ValueError, match=r"x\.npz (is not an \.npz file of plain arrays, or is damaged|holds entries)"):
        read_tensors(tmp_path / "x.npz")


def test_values_are_checked_against_their_checksum_whatever_the_header_says(tmp_path):
    """A header that states fewer values than there are would end the reading before the checksum."""
    path = write(tmp_path, ".npz")
    content = path.read_bytes()
    for whole, changed in ((b"(100, 30)", b"(10,  30)"), (b"<f4", b">f4"), (b"<f4", b"<i4")):
        assert content.count(whole) == 1
        path.write_bytes(content.replace(whole, changed))
        with pytest.raises(ValueError, match="CRC"):
            read_tensors(path)


def test_entries_of_one_name_are_refused(tmp_path):
    path = write(tmp_path, ".npz")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("b", archive.read("b.npy"))
    with pytest.raises(ValueError, match="two entries have the same name"):
        read_tensors(path)


@contextlib.contextmanager
def unreadable(path):
    """Takes the permission to read a file away, also from root."""
    path.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)
        path.chmod(0o600)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions as on Unix")
@pytest.mark.parametrize("kind", [*KINDS, ".rctask"])
def test_files_that_may_not_be_read_are_not_called_missing(tmp_path, kind):
    if kind == ".rctask":
        model, path = tiny_model(TASKS[:1]), tmp_path / "x.rctask"
        model.save_task("semseg", path)

        def read(path):
            model.load_task(path, overwrite=True)

    else:
        path, read = write(tmp_path, kind), read_tensors
    read(path)
    with unreadable(path), pytest.raises(PermissionError, match=path.name):
        read(path)
    with pytest.raises(FileNotFoundError, match="absent"):
        read(tmp_path / f"absent{kind}")
    (tmp_path / f"folder{kind}").mkdir()
    with pytest.raises(IsADirectoryError, match="folder"):
        read(tmp_path / f"folder{kind}")
