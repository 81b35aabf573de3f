"""The plain encoders: what they count, what shape they answer, and that torch computes the same."""

import keras
import numpy as np
import pytest

from rc_keras import backbones, pretrained
from rc_keras.backbones import resnet, resnet18, resnet34

# Difference to torch, relative to the largest output.
TORCH_TOLERANCE = 1e-5
TINY = {"depths": (1, 2, 1, 2), "widths": (8, 8, 12, 16)}


def _count(model, suffixes):
    return sum(int(np.prod(w.shape)) for w in model.weights if w.path.rpartition("/")[2] in suffixes)


def _kernel(model, layer):
    return keras.ops.convert_to_numpy(model.get_layer(layer).kernel)


def _kernels(model):
    return {
        layer.name: int(np.prod(layer.kernel.shape)) for layer in model.layers if isinstance(layer, keras.layers.Conv2D)
    }


@pytest.mark.parametrize(("build", "bank", "norms"), [(resnet18, 10_994_880, 9_600), (resnet34, 21_095_616, 17_024)])
def test_parameter_counts_are_the_papers(build, bank, norms):
    model = build()
    kernels = _kernels(model)
    downsampling = {name: count for name, count in kernels.items() if "downsample" in name}
    assert sum(downsampling.values()) == 172_032
    assert sum(kernels.values()) - sum(downsampling.values()) == bank
    assert _count(model, {"gamma", "beta"}) == norms
    assert _count(model, {"moving_mean", "moving_variance"}) == norms
    assert model.count_params() == bank + 172_032 + 2 * norms


def test_layer_names_are_torchvisions():
    names = [layer.name for layer in resnet18(classes=10).layers if layer.weights]
    assert names[:4] == ["conv1", "bn1", "layer1_0_conv1", "layer1_0_bn1"]
    assert names[-1] == "fc"
    assert {n for n in names if "downsample" in n} == {
        f"layer{stage}_0_downsample_{i}" for stage in (2, 3, 4) for i in (0, 1)
    }
    assert len(names) == 2 * 20 + 1


@pytest.mark.parametrize(
    ("size", "output_stride", "low", "high"),
    [
        ((512, 512), 16, (128, 128), (32, 32)),
        ((512, 512), 32, (128, 128), (16, 16)),
        ((512, 512), 8, (128, 128), (64, 64)),
        ((425, 560), 16, (107, 140), (27, 35)),
        ((425, 560), 32, (107, 140), (14, 18)),
        ((425, 560), 8, (107, 140), (54, 70)),
    ],
)
def test_feature_sizes(size, output_stride, low, high):
    model = resnet(**TINY, image_shape=(*size, 3), output_stride=output_stride)
    assert model.output["low_level"].shape == (None, *low, 8)
    assert model.output["high_level"].shape == (None, *high, 16)


def test_image_size_may_be_left_open():
    model = resnet(**TINY, seed=0)
    features = model(np.zeros((2, 75, 90, 3), "uint8"))
    assert set(features) == {"low_level", "high_level"}
    assert features["low_level"].shape == (2, 19, 23, 8)
    assert features["high_level"].shape == (2, 5, 6, 16)


def test_first_layer_normalizes_pixels():
    layer = resnet(**TINY).get_layer("preprocessing")
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 4, 4, 3)).astype("float32")
    expected = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(layer(pixels), expected, atol=1e-6)


def test_weights_derive_from_seed_and_layer_name():
    model = resnet(**TINY, seed=3)
    again = resnet(**TINY, seed=3, classes=4, output_stride=32)
    deeper = resnet(depths=(2, 2, 2, 2), widths=TINY["widths"], seed=3)
    other = resnet(**TINY, seed=4)
    kernels = [_kernel(m, "layer4_0_conv1") for m in (model, again, deeper)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    np.testing.assert_array_equal(kernels[0], kernels[2])
    assert not np.array_equal(kernels[0], _kernel(other, "layer4_0_conv1"))
    # Layers of equal shape draw different weights.
    conv = [_kernel(model, f"layer2_{i}_conv2") for i in (0, 1)]
    assert not np.array_equal(*conv)


def test_unseeded_models_differ():
    kernels = [_kernel(resnet(**TINY), "conv1") for _ in range(2)]
    assert not np.array_equal(*kernels)


def test_initial_variance_is_he_fan_out():
    model = resnet18(seed=0)
    for name in ("conv1", "layer2_0_conv1", "layer4_1_conv2", "layer4_0_downsample_0"):
        kernel = _kernel(model, name)
        height, width, _, filters = kernel.shape
        # The spread of a standard deviation over at least 9,000 draws is below 1 %.
        assert kernel.std() == pytest.approx(np.sqrt(2 / (height * width * filters)), rel=0.03)


@pytest.mark.parametrize("classes", [None, 5])
def test_config_and_file_round_trips_are_exact(tmp_path, classes):
    model = resnet(**TINY, classes=classes, seed=0, output_stride=8)
    images = np.random.default_rng(0).uniform(0, 255, (2, 65, 47, 3)).astype("float32")
    expected = model.predict(images, verbose=0)

    clone = keras.Model.from_config(model.get_config())
    assert [layer.name for layer in clone.layers] == [layer.name for layer in model.layers]
    clone.set_weights(model.get_weights())
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]

    for copy in (clone, loaded):
        found = copy.predict(images, verbose=0)
        assert type(found) is type(expected)
        keras.tree.map_structure(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output_stride": 4}, r"`output_stride` must be one of \[8, 16, 32\]. Received: .*=4"),
        ({"depths": (2, 2, 2)}, r"`depths` must be four .* Received: depths=\(2, 2, 2\)"),
        ({"widths": (8, 8, 8, 0)}, r"`widths` must be four .* Received: widths=\(8, 8, 8, 0\)"),
        ({"classes": 0}, r"`classes` must be .* Received: classes=0"),
        ({"seed": 1.5}, r"`seed` must be .* Received: seed=1.5"),
        ({"image_shape": (64, 64, 1)}, r"`image_shape` must be .* Received: .*\(64, 64, 1\)"),
        ({"image_shape": (64, 64)}, r"`image_shape` must be .* Received: .*\(64, 64\)"),
        ({"image_shape": (0, None, 3)}, r"`image_shape` must be .* Received: .*\(0, None, 3\)"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        resnet(**{**TINY, **arguments})


def test_registry_finds_and_guesses():
    assert backbones.get("resnet34") is resnet34
    with pytest.raises(ValueError, match=r"'resnet18', 'resnet34'.*'ResNet-18'.*'resnet18'\?"):
        backbones.get("ResNet-18")
    with pytest.raises(ValueError, match="Received: backbone=None"):
        backbones.get(None)


def test_every_registered_backbone_has_imagenet_metadata():
    published = {name for name, backbone in backbones.BACKBONES.items() if backbone.weights is not None}
    assert set(pretrained.IMAGENET_WEIGHTS) == published
    for name in ("resnet18", "resnet34"):
        assert backbones.BACKBONES[name]().name == name
        weights = pretrained.IMAGENET_WEIGHTS[name]
        assert weights["url"].endswith(f"/{name}-{weights['sha256_prefix']}.pth")


def _torch_resnet(torch, depths, widths, output_stride, classes):
    """A ResNet in plain torch with torchvision's padding and names."""
    nn = torch.nn
    strides = {8: (1, 2, 1, 1), 16: (1, 2, 2, 1), 32: (1, 2, 2, 2)}[output_stride]
    dilations = {8: (1, 1, 2, 4), 16: (1, 1, 1, 2), 32: (1, 1, 1, 1)}[output_stride]

    class Block(nn.Module):
        def __init__(self, c_in, c_out, stride, dilation, project):
            super().__init__()
            self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, dilation, dilation, bias=False)
            self.bn1 = nn.BatchNorm2d(c_out)
            self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, dilation, dilation, bias=False)
            self.bn2 = nn.BatchNorm2d(c_out)
            if project:
                conv = nn.Conv2d(c_in, c_out, 1, stride, bias=False)
                self.downsample = nn.Sequential(conv, nn.BatchNorm2d(c_out))
            self.project = project

        def forward(self, x):
            shortcut = self.downsample(x) if self.project else x
            x = torch.relu(self.bn1(self.conv1(x)))
            return torch.relu(self.bn2(self.conv2(x)) + shortcut)

    class ResNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, widths[0], 7, 2, 3, bias=False)
            self.bn1 = nn.BatchNorm2d(widths[0])
            self.maxpool = nn.MaxPool2d(3, 2, 1)
            c_in = widths[0]
            for stage in range(4):
                blocks = []
                for i in range(depths[stage]):
                    stride = strides[stage] if i == 0 else 1
                    project = i == 0 and stage > 0
                    blocks.append(Block(c_in, widths[stage], stride, dilations[stage], project))
                    c_in = widths[stage]
                setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
            self.fc = nn.Linear(widths[3], classes)

        def forward(self, pixels):
            mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
            std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
            x = (pixels / 255 - mean) / std
            x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
            low = self.layer1(x)
            high = self.layer4(self.layer3(self.layer2(low)))
            return low, high, self.fc(high.mean((2, 3)))

    return ResNet()


def _randomize_statistics(torch, model):
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 1.5, generator=generator)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_(0, 0.3, generator=generator)


@pytest.mark.parametrize("size", [(64, 96), (65, 47), (102, 71)])
@pytest.mark.parametrize("output_stride", [32, 16, 8])
def test_torch_computes_the_same(tmp_path, output_stride, size):
    torch = pytest.importorskip("torch", reason="torch is the reference here")
    torch.manual_seed(0)
    reference = _torch_resnet(torch, **TINY, output_stride=output_stride, classes=7)
    _randomize_statistics(torch, reference)
    path = tmp_path / "tiny.pth"
    torch.save(reference.state_dict(), path)
    images = np.random.default_rng(2).uniform(0, 255, (2, *size, 3)).astype("float32")
    with torch.no_grad():
        low, high, logits = reference.eval()(torch.from_numpy(images).permute(0, 3, 1, 2))

    encoder = resnet(**TINY, output_stride=output_stride)
    classifier = resnet(**TINY, output_stride=output_stride, classes=7)
    pretrained.load_weights(encoder, path)
    pretrained.load_weights(classifier, path)
    features = encoder.predict(images, verbose=0)

    def check(found, expected):
        expected = expected.numpy()
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= TORCH_TOLERANCE * np.abs(expected).max()

    check(features["low_level"], low.permute(0, 2, 3, 1))
    check(features["high_level"], high.permute(0, 2, 3, 1))
    check(classifier.predict(images, verbose=0), logits)
