"""Pictures that `fit` draws: what `Task.draw` draws of that moment's predictions, in files and for TensorBoard."""

import keras
import numpy as np
import pytest
from support.tiny import SIZE, TASKS, tiny_data, tiny_model

import rc_keras

Image = pytest.importorskip("PIL.Image")
SCENE = rc_keras.Task("scene", 4, "classification")


class Predict(keras.callbacks.Callback):
    """Keeps what the model predicts after each epoch."""

    def __init__(self, images):
        super().__init__()
        self.images, self.predictions = images, []

    def on_epoch_end(self, epoch, logs=None):
        self.predictions.append({k: keras.ops.convert_to_numpy(v) for k, v in self.model(self.images).items()})


@pytest.fixture
def data():
    images, labels = tiny_data(4)
    labels["depth"][:, :4] = 0
    return images, {**labels, "scene": np.arange(4)}


def read(path):
    return np.asarray(Image.open(path))


def compiled(tasks):
    model = tiny_model(tasks)
    model.compile(keras.optimizers.SGD(0.01), run_eagerly=True)
    return model


def test_files_are_what_the_tasks_draw(data, tmp_path):
    images, labels = data
    model = compiled([TASKS[0], TASKS[3], SCENE])
    shown, depth, folder = images[:2], labels["depth"][:2], tmp_path / "new" / "pictures"
    draw = rc_keras.DrawPredictions(shown, {"depth": depth}, directory=folder, every=2)
    predict = Predict(shown)
    model.fit(images, labels, batch_size=4, epochs=5, verbose=0, callbacks=[draw, predict])
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"{task}_{epoch:04d}.png" for task in ("depth", "semseg") for epoch in (2, 4)]
    scale = {"depth_range": (0.0, float(depth.max()))}
    for epoch in (2, 4):
        predictions = predict.predictions[epoch - 1]
        truth = TASKS[3].draw_label(depth, **scale), TASKS[3].draw(predictions["depth"], **scale)
        columns = {"depth": (shown, *truth), "semseg": (shown, TASKS[0].draw(predictions["semseg"]))}
        for task, pictures in columns.items():
            picture = read(folder / f"{task}_{epoch:04d}.png")
            assert picture.shape == (2 * SIZE, len(pictures) * SIZE, 3)
            np.testing.assert_array_equal(picture, np.concatenate(np.concatenate(pictures, axis=2), axis=0))
    before, after = (read(folder / f"depth_{epoch:04d}.png") for epoch in (2, 4))
    assert np.any(before != after)


def test_training_is_the_same_with_it(data, tmp_path):
    images, labels = data
    logs = []
    for callbacks in ([], [rc_keras.DrawPredictions(images, directory=tmp_path)]):
        model = tiny_model(TASKS[:1])
        model.compile(keras.optimizers.SGD(0.01))
        history = model.fit(images, labels, batch_size=2, epochs=2, shuffle=False, verbose=0, callbacks=callbacks)
        logs.append(history.history)
    assert logs[0] == logs[1]


def test_tensorboard_shows_the_same(data, tmp_path):
    tf = pytest.importorskip("tensorflow")
    pytest.importorskip("tensorboard")
    images, labels = data
    model = compiled(TASKS[:2])
    model.trainable_tasks = ["edge"]
    draw = rc_keras.DrawPredictions(images, labels_of(model, labels), directory=tmp_path / "f", log_dir=tmp_path / "l")
    model.fit(images, labels, batch_size=4, epochs=2, verbose=0, callbacks=[draw])
    (log,) = (tmp_path / "l").iterdir()
    shown = {}
    for event in tf.compat.v1.train.summary_iterator(str(log)):
        for value in event.summary.value:
            _, _, *encoded = value.tensor.string_val
            shown[value.tag, event.step] = np.concatenate([tf.image.decode_png(e).numpy() for e in encoded])
    assert set(shown) == {("edge", 1), ("edge", 2)}  # of the task that is trained
    for (task, step), picture in shown.items():
        np.testing.assert_array_equal(picture, read(tmp_path / "f" / f"{task}_{step:04d}.png"))


def labels_of(model, labels):
    return {name: labels[name] for name in model.tasks}


def test_who_does_not_write_draws_all_the_same(data, tmp_path):
    images, labels = data
    model = compiled(TASKS[:1])
    draw = rc_keras.DrawPredictions(images, directory=tmp_path / "files", log_dir=tmp_path / "logs", write=False)
    model.fit(images, labels, batch_size=4, verbose=0, callbacks=[draw])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"directory": None}, "`directory` or `log_dir` must be given"),
        ({"every": 0}, "`every` must be a positive int. Received: every=0"),
        ({"tasks": "semseg"}, "`tasks` must be a list of task names"),
    ],
)
def test_wrong_arguments_are_refused(data, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        rc_keras.DrawPredictions(data[0], **{"directory": tmp_path, **arguments})


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"tasks": ["semsg"]}, "Did you mean 'semseg'"),
        ({"tasks": ["scene"]}, "tasks that answer a map. Received: 'scene'"),
        ({"labels": {"semseg": np.zeros((1, 2, 2), "int32")}}, "`semseg` labels .* must be of shape"),
        ({"images": np.zeros((2, 8, 8, 1), "uint8")}, "must"),
    ],
)
def test_what_is_not_the_models_is_refused(data, tmp_path, arguments, message):
    images, labels = data
    draw = rc_keras.DrawPredictions(**{"images": images, "directory": tmp_path, **arguments})
    with pytest.raises(ValueError, match=message):
        compiled([TASKS[0], SCENE]).fit(images, labels, batch_size=4, verbose=0, callbacks=[draw])
