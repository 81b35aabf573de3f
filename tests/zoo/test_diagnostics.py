"""Diagnostics against plain NumPy and SciPy."""

import json
import types

import keras
import numpy as np
import pytest
from absl import app, flags
from absl.testing import flagsaver
from scipy import stats
from support.tiny import TASKS, arrays, assert_same_bits, tiny_backbone, tiny_data, tiny_decoder, tiny_model
from support.trained import pretend_training

import rc_keras
from rc_keras.files.whole_files import write_json
from rc_keras.network.graft import SEPARATOR
from rc_keras.zoo.diagnostics import gradient_conflict, representation_similarity, response_spectra
from rc_keras.zoo.diagnostics.conflict_figure import draw_conflict
from rc_keras.zoo.diagnostics.similarity_figure import draw_similarity
from rc_keras.zoo.diagnostics.spectra_figure import draw_spectra

SIMILARITY = 1e-6  # the same float32 features on both sides
COSINE = 1e-5  # float32 gradients
ENERGY = 1e-4  # float32 forward passes of a few layers


# Representations


@pytest.fixture(scope="module")
def trained():
    return pretend_training(tiny_model())


def features(network, layer, images):
    return np.array(keras.Model(network.inputs, network.get_layer(layer).output).predict(images, verbose=0))


@pytest.mark.parametrize("pooled", [False, True])
def test_representation_similarity_against_scipy(trained, pooled):
    images = tiny_data(9)[0]  # not a multiple of the batch
    result = representation_similarity(trained, images, pooled=pooled)
    assert result.networks == ("semseg", "edge", "normals", "pretrained")
    assert result.layers == {"low_level": "low_relu", "high_level": "high_relu"}
    for stage, layer in result.layers.items():
        networks = [(trained.branch(name), f"{name}{SEPARATOR}{layer}") for name in trained.tasks]
        triangles = []
        for network, name in [*networks, (trained.bank.template, layer)]:
            maps = features(network, name, images)
            rows = maps.mean(axis=(1, 2)) if pooled else maps.reshape(len(maps), -1)
            triangles.append((1 - np.corrcoef(rows.astype("float64")))[np.tril_indices(len(images), -1)])
        expected = stats.spearmanr(np.stack(triangles, axis=1)).statistic
        np.testing.assert_allclose(result.stages[stage], expected, atol=SIMILARITY)
        assert np.abs(expected - np.eye(4)).max() < 0.999


def test_networks_that_compute_the_same_are_alike():
    result = representation_similarity(tiny_model(), tiny_data(6)[0])  # untrained: every task computes the pretrained
    for matrix in result.stages.values():
        np.testing.assert_allclose(matrix, 1.0, atol=SIMILARITY)


def test_an_encoder_that_tasks_train_is_not_called_pretrained():
    result = representation_similarity(tiny_model(TASKS[:2], method="multi_task"), tiny_data(4)[0])
    assert result.networks == ("semseg", "edge")


def test_similarity_ignores_scale_offset_and_the_order_of_images(trained):
    images = tiny_data(6)[0]
    expected = representation_similarity(trained, images).stages
    layer = trained.branch("semseg").get_layer(f"semseg{SEPARATOR}low_norm")
    start = arrays({"gamma": layer.gamma, "beta": layer.beta})
    try:
        layer.gamma.assign(2 * start["gamma"])  # through the ReLU this doubles the features, the bias included
        layer.beta.assign(2 * start["beta"])
        doubled = representation_similarity(trained, images[::-1], stages=["low_relu"]).stages["low_relu"]
    finally:
        layer.gamma.assign(start["gamma"])
        layer.beta.assign(start["beta"])
    np.testing.assert_allclose(doubled, expected["low_level"], atol=SIMILARITY)


def test_stages_of_a_resnet():
    model = tiny_model(TASKS[:1], backbone=tiny_backbone(), decoder=tiny_decoder())
    result = representation_similarity(model, tiny_data(3)[0])
    assert result.layers == {"stem": "relu", **{f"layer{i}": f"layer{i}_0_relu2" for i in (1, 2, 3, 4)}}


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_constant_features_have_no_similarity(tmp_path):
    model = tiny_model()
    norm = model.branch("edge").get_layer(f"edge{SEPARATOR}low_norm")
    norm.gamma.assign(np.zeros(norm.gamma.shape))
    norm.beta.assign(np.full(norm.beta.shape, 0.3))
    result = representation_similarity(model, tiny_data(4)[0], stages=["low_relu"])
    matrix = result.stages["low_relu"]
    assert np.isnan(matrix[1]).all() and np.isnan(matrix[:, 1]).all()
    assert not np.isnan(np.delete(np.delete(matrix, 1, 0), 1, 1)).any()
    write_json(tmp_path / "r.json", result.to_dict())
    assert json.loads((tmp_path / "r.json").read_text())["stages"]["low_relu"][1] == [None] * 4


def test_similarity_says_what_is_wrong(trained):
    images = tiny_data(4)[0]
    with pytest.raises(ValueError, match="at least 3.*Received: 2"):
        representation_similarity(trained, images[:2])
    with pytest.raises(ValueError, match=r"Received: \(4, 16, 32, 3\)"):
        representation_similarity(trained, images[:, :16])
    with pytest.raises(ValueError, match="low_rleu.*Did you mean 'low_relu'"):
        representation_similarity(trained, images, stages=["low_rleu"])
    with pytest.raises(ValueError, match="`stages` must be names.*Received: stages='relu'"):
        representation_similarity(trained, images, stages="relu")


# Gradients


def linear_tasks():
    """Tasks a and b predict `x W h_t` with W in common, c has its own W: gradients are easily written down."""
    generator = np.random.default_rng(0)
    common, own = keras.layers.Dense(4, use_bias=False, name="common"), keras.layers.Dense(4, use_bias=False)
    tasks, branches = {}, {}
    for name, layer in (("a", common), ("b", common), ("c", own)):
        image = keras.Input((2, 2, 3))
        head = keras.layers.Dense(1, use_bias=False)
        branches[name] = keras.Model(image, head(layer(image)))
        head.kernel.assign(generator.normal(size=(4, 1)))
        layer.kernel.assign(generator.normal(size=(3, 4)))
        tasks[name] = rc_keras.Task(name, 1, "depth", loss=keras.losses.MeanSquaredError())
    return types.SimpleNamespace(tasks=list(tasks), branch=branches.get, task=tasks.get)


def gradient_by_hand(branch, images, labels):
    """Of the mean of `(x W h - y)^2` by W: `2 / n sum x^T (x W h - y) h^T`."""
    w, h = (np.array(keras.ops.convert_to_numpy(v), "float64") for v in branch.trainable_variables)
    x, y = images.reshape(-1, 3).astype("float64"), labels.reshape(-1, 1)
    return 2 / len(x) * x.T @ (x @ w @ h - y) @ h.T


def test_gradients_against_those_by_hand():
    model = linear_tasks()
    generator = np.random.default_rng(1)
    batches = []
    for size in (2, 1, 1, 1, 1):
        images = generator.normal(size=(size, 2, 2, 3)).astype("float32")
        batches.append((images, {name: generator.uniform(0, 1, (size, 2, 2, 1)).astype("float32") for name in "abc"}))
    del batches[1][1]["b"]
    cosines = []
    for images, labels in batches:
        if "b" in labels:
            g, h = (gradient_by_hand(model.branch(name), images, labels[name]).ravel() for name in "ab")
            cosines.append(g @ h / np.linalg.norm(g) / np.linalg.norm(h))
    assert 0 < np.mean(np.less(cosines, 0)) < 1  # the data tests both signs

    result = gradient_conflict(model, iter(batches))
    assert result.possible and result.batches == 5
    np.testing.assert_array_equal(result.shared_weights, [[12, 12, 0], [12, 12, 0], [0, 0, 0]])
    expected = np.full((3, 3), np.nan)
    expected[:2, :2] = [[1, np.mean(cosines)], [np.mean(cosines), 1]]
    np.testing.assert_allclose(result.cosine, expected, atol=COSINE)
    expected[:2, :2] = [[0, np.mean(np.less(cosines, 0))], [np.mean(np.less(cosines, 0)), 0]]
    np.testing.assert_allclose(result.conflicts, expected)
    assert "nan" not in str(result)


@pytest.mark.parametrize("method", ["multi_task", "squeeze_excite"])
def test_gradients_point_where_training_goes(method):
    """A step of plain SGD for one task moves the shared weights by its gradient."""
    model, (images, labels) = tiny_model(TASKS[:2], method=method), tiny_data(4)
    start, moves = model.get_weights(), []
    first, second = ({id(v): v for v in model.branch(name).trainable_variables} for name in model.tasks)
    shared = [v for key, v in first.items() if key in second]
    for name in model.tasks:
        model.set_weights(start)
        model.trainable_tasks = [name]
        model.compile(optimizer=keras.optimizers.SGD(1.0))
        before = [np.array(keras.ops.convert_to_numpy(v)) for v in shared]
        model.fit(images, {name: labels[name]}, batch_size=4, verbose=0)
        after = [keras.ops.convert_to_numpy(v) for v in shared]
        moves.append(np.concatenate([(b - a).ravel() for b, a in zip(before, after, strict=True)]).astype("float64"))
    model.set_weights(start)
    model.trainable_tasks = model.tasks
    result = gradient_conflict(model, [(images, {name: labels[name] for name in model.tasks})])
    assert result.shared_weights[0, 1] == moves[0].size > 1000
    expected = moves[0] @ moves[1] / np.linalg.norm(moves[0]) / np.linalg.norm(moves[1])
    assert result.cosine[0, 1] == pytest.approx(expected, abs=COSINE) and abs(expected) < 0.9


def test_gradients_leave_the_model_as_it_was():
    norm = keras.layers.BatchNormalization()
    common = rc_keras.layers.BatchNormalization()
    branches = {}
    for name in "ab":
        image = keras.Input((4, 4, 3))
        x = keras.layers.Dropout(0.5, seed=1)(common(norm(image)))
        branches[name] = keras.Model(image, keras.layers.Dense(1)(x))
    task = rc_keras.Task("a", 1, "depth")
    model = types.SimpleNamespace(tasks=["a", "b"], branch=branches.get, task=lambda name: task)
    variables = {v.path: v for branch in branches.values() for v in branch.variables}
    before = arrays(variables)
    labels = np.full((2, 4, 4, 1), 9, "float32")
    result = gradient_conflict(
        model, [(np.random.default_rng(0).normal(size=(2, 4, 4, 3)), {"a": labels, "b": labels})]
    )
    assert np.isfinite(result.cosine).all()
    assert_same_bits(before, arrays(variables))


def test_tasks_without_labelled_pixels_do_not_count():
    model = linear_tasks()
    model.task = {name: rc_keras.Task(name, 1, "depth") for name in "abc"}.get
    images, labels = np.ones((2, 2, 2, 3), "float32"), np.ones((2, 2, 2, 1), "float32")
    result = gradient_conflict(model, [(images, {"a": labels, "b": 0 * labels})])
    np.testing.assert_allclose(result.cosine[0, 0], 1.0)
    assert np.isnan(result.cosine[0, 1]) and np.isnan(result.conflicts[0, 1])


def test_on_a_frozen_bank_gradients_cannot_conflict(trained):
    result = gradient_conflict(trained, [])
    assert not result.possible and result.batches == 0 and np.isnan(result.cosine).all()
    assert "cannot conflict" in str(result)


def test_gradients_say_what_is_wrong():
    model = linear_tasks()
    with pytest.raises(ValueError, match="at least one batch"):
        gradient_conflict(model, [])
    with pytest.raises(ValueError, match=r"one of the tasks \['a', 'b', 'c'\]. Received: \['d'\]"):
        gradient_conflict(model, [(np.ones((1, 2, 2, 3)), {"d": 0})])
    with pytest.raises(ValueError, match="shape"):
        gradient_conflict(model, [(np.ones((1, 2, 2, 3)), {"a": np.ones((1, 9, 9, 1))})])


# Responses


@pytest.mark.parametrize("method", ["rcm", "rc_identity"])
def test_spectra_hold_the_variance_of_the_plain_network(method):
    backbone, images = tiny_backbone(), tiny_data(6)[0]
    model = tiny_model(TASKS[:1], backbone=backbone, decoder=tiny_decoder(), method=method)
    report = response_spectra(model, images)
    assert report.images == 6 and list(report.spectra) == list(model.bank.convolutions)
    for name, spectrum in report.spectra.items():
        responses = features(backbone, name, images)
        covariance = np.cov(responses.reshape(-1, responses.shape[-1]).astype("float64").T)
        np.testing.assert_allclose(spectrum.sum(), np.trace(covariance), rtol=ENERGY)
        np.testing.assert_allclose(spectrum, np.linalg.eigvalsh(covariance)[::-1], atol=ENERGY * spectrum[0])
        share = report.cumulative_energy(name)
        np.testing.assert_allclose(share[-1], 1.0)
        assert share[report.rank(name, 0.99) - 1] >= 0.99 > np.append(0.0, share)[report.rank(name, 0.99) - 1]


def test_without_a_bank_there_are_no_spectra():
    assert response_spectra(tiny_model(method="single_task"), tiny_data(3)[0]).spectra == {}


def test_spectra_say_what_is_wrong(trained):
    with pytest.raises(ValueError, match="at least one image"):
        response_spectra(trained, tiny_data(1)[0][:0])
    with pytest.raises(ValueError, match="Images must be"):
        response_spectra(trained, np.zeros((2, 32, 32)))


# Files


def test_diagrams(trained, tmp_path):
    pytest.importorskip("matplotlib")
    images = tiny_data(3)[0]
    batches = [(np.ones((2, 2, 2, 3)), {name: np.ones((2, 2, 2, 1), "float32") for name in "abc"})]
    draw_similarity(representation_similarity(trained, images), tmp_path / "similarity.png")
    draw_conflict(gradient_conflict(linear_tasks(), batches), tmp_path / "conflict.png")
    draw_conflict(gradient_conflict(trained, []), tmp_path / "no_conflict.png")
    draw_spectra(response_spectra(trained, images), tmp_path / "spectra.png")
    draw_spectra(response_spectra(tiny_model(method="single_task"), images), tmp_path / "no_spectra.png")
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 5 and min(sizes) > 1000


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="zoo commands are tested on TensorFlow")
def test_command(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    from rc_keras.zoo import diagnose

    flags.FLAGS(["diagnose"])
    model = tiny_model([rc_keras.Task("edge", 1, "edge"), rc_keras.Task("depth", 1, "depth")])
    model.save(tmp_path / "m.keras")
    given = {
        "model": str(tmp_path / "m.keras"),
        "recipe": "scenes",
        "dataset": "scenes/tiny",
        "tasks": "edge,depth",
        "crop": "32,32",
        "resize": "32,32",
        "data_dir": str(tmp_path / "data"),
        "images": 5,
    }
    with flagsaver.flagsaver(**given), pytest.raises(app.UsageError, match="must be given"):
        diagnose.main(["diagnose"])
    with flagsaver.flagsaver(**given, out=str(tmp_path / "out")):
        diagnose.main(["diagnose"])
        with flagsaver.flagsaver(only=["response"]), pytest.raises(app.UsageError, match="Did you mean 'responses'"):
            diagnose.main(["diagnose"])
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [
        f"{name}.{kind}" for name in ("gradients", "representation", "responses") for kind in ("json", "png")
    ]
    representation = json.loads((tmp_path / "out" / "representation.json").read_text())
    assert representation["networks"] == ["edge", "depth", "pretrained"] and representation["images"] == 5
    assert json.loads((tmp_path / "out" / "gradients.json").read_text())["possible"] is False
    layers = json.loads((tmp_path / "out" / "responses.json").read_text())["layers"]
    assert layers["stem_conv"]["channels"] == 8 and layers["stem_conv"]["cumulative_energy"][-1] == pytest.approx(1.0)
    assert "cannot conflict" in capsys.readouterr().out
