"""`fit`, `evaluate` and `predict` meet the batches that plain Keras meets, all of them, in its order."""

import random
import warnings

import keras
import numpy as np
import pytest
from support.tiny import SIZE, TASKS, tiny_model

BATCH, BATCHES = 2, 5


def batch(index):
    """A batch of which image and depth say the index, beginning at 1."""
    images = np.full((BATCH, SIZE, SIZE, 3), index + 1, "float32")
    return images, {"depth": np.full((BATCH, SIZE, SIZE, 1), index + 1, "float32")}


def from_generator(generate):
    tf = pytest.importorskip("tensorflow")
    images, labels = batch(0)
    signature = (
        tf.TensorSpec((None, *images.shape[1:]), "float32"),
        {"depth": tf.TensorSpec((None, *labels["depth"].shape[1:]), "float32")},
    )
    return tf.data.Dataset.from_generator(generate, output_signature=signature)


def shuffled_dataset():
    tf = pytest.importorskip("tensorflow")
    parts = [batch(i) for i in range(BATCHES)]
    images = np.concatenate([images for images, _ in parts])
    depth = np.concatenate([labels["depth"] for _, labels in parts])
    tf.random.set_seed(3)
    data = tf.data.Dataset.from_tensor_slices((images, {"depth": depth})).batch(BATCH)
    return data.shuffle(BATCHES, seed=7, reshuffle_each_iteration=True)


def one_shot_dataset():
    once = iter([batch(i) for i in range(BATCHES)])
    return from_generator(lambda: once)


def generator():
    return (batch(i) for i in range(2 * BATCHES))


class Sequence(keras.utils.PyDataset):
    """Shuffles itself after each epoch, as many do."""

    def __init__(self):
        super().__init__()
        self.order, self.generator = np.arange(BATCHES), np.random.default_rng(0)

    def __len__(self):
        return BATCHES

    def __getitem__(self, index):
        return batch(int(self.order[index]))

    def on_epoch_end(self):
        self.generator.shuffle(self.order)


def loader(iterable=False):
    torch = pytest.importorskip("torch")
    parts = [tuple(part) for part in map(batch, range(BATCHES))]

    class Items(torch.utils.data.IterableDataset if iterable else torch.utils.data.Dataset):
        def __len__(self):
            return BATCH * BATCHES

        def __getitem__(self, index):
            images, labels = parts[index // BATCH]
            return images[0], {"depth": labels["depth"][0]}

        def __iter__(self):
            return (self[i] for i in range(len(self)))

    if iterable:
        return torch.utils.data.DataLoader(Items(), batch_size=BATCH)
    torch.manual_seed(5)
    seeded = torch.Generator().manual_seed(11)
    return torch.utils.data.DataLoader(Items(), batch_size=BATCH, shuffle=True, generator=seeded)


DATA = {
    "one-shot dataset": one_shot_dataset,
    "shuffled dataset": shuffled_dataset,
    "generator": generator,
    "py dataset": Sequence,
    "loader": loader,
    "iterable loader": lambda: loader(iterable=True),
}


class Recorder:
    """A metric function that notes which batches it meets."""

    def __init__(self):
        self.seen = []

    def __call__(self, y_true, y_pred):
        self.seen.append(float(np.sum(keras.ops.convert_to_numpy(y_true)[:, 0, 0])))
        return keras.ops.zeros((1,))


def ours(recorder):
    model = tiny_model([TASKS[3]])
    model.compile(optimizer="sgd", metrics={"depth": [recorder]}, run_eagerly=True)
    return model


def plain(recorder):
    image = keras.Input((SIZE, SIZE, 3))
    model = keras.Model(image, {"depth": keras.layers.Conv2D(1, 1)(image)})
    model.compile(optimizer="sgd", loss="mse", metrics={"depth": [recorder]}, run_eagerly=True)
    return model


def met(make, data, work):
    """What a model meets, and where the random numbers of the process end."""
    recorder = Recorder()
    model, data = make(recorder), data()
    random.seed(2)  # Keras shuffles a `PyDataset` by these
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras says that data ran out, or that it does not shuffle
        answer = work(model, data)
    return recorder.seen, answer, random.random()


@pytest.mark.parametrize("kind", DATA)
def test_fit_meets_what_plain_keras_meets(kind):
    steps = {"steps_per_epoch": BATCHES} if kind == "generator" else {}

    def work(model, data):
        return len(model.fit(data, epochs=2, verbose=0, **steps).epoch)

    expected = met(plain, DATA[kind], work)
    assert met(ours, DATA[kind], work) == expected
    assert len(expected[0]) >= BATCHES


@pytest.mark.parametrize("kind", DATA)
def test_evaluate_and_predict_meet_what_plain_keras_meets(kind):
    def evaluate(model, data):
        model.evaluate(data, verbose=0)

    assert met(ours, DATA[kind], evaluate) == met(plain, DATA[kind], evaluate)

    def predict(model, data):
        return model.predict(data, verbose=0)["depth"].shape

    assert met(ours, DATA[kind], predict) == met(plain, DATA[kind], predict)


@pytest.mark.parametrize("kind", ["shuffled dataset", "loader", "one-shot dataset"])
def test_validation_meets_what_plain_keras_meets(kind):
    """Validation that draws from the same random numbers as the training included."""

    def work(model, data):
        history = model.fit(data, validation_data=DATA[kind](), epochs=2, verbose=0)
        return len(history.epoch)

    assert met(ours, DATA[kind], work) == met(plain, DATA[kind], work)


def test_steps_go_on_where_the_last_epoch_ended():
    def work(model, data):
        return len(model.fit(data, epochs=2, steps_per_epoch=2, verbose=0).epoch)

    expected = met(plain, one_shot_dataset, work)
    assert met(ours, one_shot_dataset, work) == expected
    assert expected[0] == [2.0, 4.0, 6.0, 8.0]
