"""The filter bank as a thing of its own: fingerprint, file, refusals."""

import keras
import numpy as np
import pytest
import safetensors.numpy
from support.tiny import SIZE, arrays, assert_same_bits, tiny_backbone, tiny_data, tiny_model

import rc_keras
from rc_keras import FilterBank
from rc_keras.files.named_weights import named_variables


def weights(bank):
    return arrays(named_variables(bank.template.layers))


@pytest.mark.parametrize("method", ["rcm", "rc", "single_task"])
def test_save_and_load(method, tmp_path):
    bank = FilterBank(tiny_backbone(), method)
    bank.save(tmp_path / "bank.safetensors")
    loaded = FilterBank.load(tmp_path / "bank.safetensors", tiny_backbone(seed=5))
    assert loaded.fingerprint == bank.fingerprint
    assert loaded.method == bank.method
    assert_same_bits(weights(bank), weights(loaded))


def test_fingerprint_knows_every_bit_and_nothing_but_the_kernels():
    bank = FilterBank(tiny_backbone())
    before = bank.fingerprint
    assert len(before) == 64
    assert FilterBank(tiny_backbone()).fingerprint == before
    bank.template.get_layer("bn1").gamma.assign(np.zeros(8))
    assert bank.fingerprint == before
    kernel = bank.convolutions["conv1"].kernel
    value = keras.ops.convert_to_numpy(kernel).copy()
    value.flat[0] = np.nextafter(value.flat[0], np.float32(np.inf))
    kernel.assign(value)
    assert bank.fingerprint != before


def test_a_saved_bank_makes_the_same_model(tmp_path):
    images = tiny_data(2)[0]
    model = tiny_model(response_images=images)
    model.bank.save(tmp_path / "bank.safetensors")
    again = tiny_model(bank=tmp_path / "bank.safetensors")
    assert_same_bits(arrays(model.predict(images, verbose=0)), arrays(again.predict(images, verbose=0)))
    shared = tiny_model(bank=model.bank)
    assert_same_bits(arrays(model.predict(images, verbose=0)), arrays(shared.predict(images, verbose=0)))


def test_a_saved_bank_serves_another_image_size_and_output_stride(tmp_path):
    FilterBank(tiny_backbone()).save(tmp_path / "bank.safetensors")
    other = rc_keras.backbones.resnet((1, 1, 1, 1), (8, 8, 16, 16), (2 * SIZE, SIZE, 3), output_stride=8)
    bank = FilterBank.load(tmp_path / "bank.safetensors", other)
    assert bank.template.output["high_level"].shape[1:3] == (2 * SIZE // 8, SIZE // 8)


def test_refused_files(tmp_path):
    backbone = tiny_backbone()
    path = tmp_path / "bank.safetensors"
    FilterBank(backbone).save(path)
    wider = rc_keras.backbones.resnet((1, 1, 1, 1), (8, 8, 16, 24), (SIZE, SIZE, 3))
    with pytest.raises(ValueError, match=r"misshapen: layer4_0_conv1/kernel.*\(3, 3, 16, 24\)"):
        FilterBank.load(path, wider)
    deeper = rc_keras.backbones.resnet((1, 1, 1, 2), (8, 8, 16, 16), (SIZE, SIZE, 3))
    with pytest.raises(ValueError, match="missing: layer4_1_conv1/kernel"):
        FilterBank.load(path, deeper)

    for offset in range(1, path.stat().st_size // 2, 4999):
        damaged = bytearray(path.read_bytes())
        damaged[-offset] ^= 1
        (tmp_path / "damaged.safetensors").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"damaged\.safetensors is damaged"):
            FilterBank.load(tmp_path / "damaged.safetensors", backbone)

    (tmp_path / "cut.safetensors").write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"cut\.safetensors must be a safetensors file"):
        FilterBank.load(tmp_path / "cut.safetensors", backbone)
    safetensors.numpy.save_file({"a": np.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="must have the format 'rc_keras.bank.1'"):
        FilterBank.load(tmp_path / "other.safetensors", backbone)
    with pytest.raises(ValueError, match=r"must end in '\.safetensors'"):
        FilterBank(backbone).save(tmp_path / "bank.h5")
    with pytest.raises(FileNotFoundError):
        FilterBank.load(tmp_path / "absent.safetensors", backbone)
    with pytest.raises(OSError):
        FilterBank(backbone).save(tmp_path / "no such folder" / "bank.safetensors")


def test_a_failed_save_keeps_what_was_there(tmp_path, monkeypatch):
    bank = FilterBank(tiny_backbone())
    path = tmp_path / "bank.safetensors"
    bank.save(path)
    content = path.read_bytes()

    def full_disk(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError, match="No space"):
        bank.save(path)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]
