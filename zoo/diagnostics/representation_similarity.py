"""How alike the tasks see images: representational similarity analysis (RSA) of their networks."""

import dataclasses
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from scipy.stats import rankdata

from rc_keras.base.keras_internals import producer
from rc_keras.base.names import unknown_name
from rc_keras.model import MultiTaskModel
from rc_keras.network.copies import SEPARATOR
from rc_keras.training import first_batch

PRETRAINED = "pretrained"
_BATCH_SIZE = 8
_COLUMNS = 65536  # features that are in float64 at a time


@dataclasses.dataclass(frozen=True)
class RepresentationSimilarity:
    """How alike the tasks see images, stage by stage.

    Attributes:
        networks: what is compared: the names of the tasks, then `"pretrained"`, the network they started from, unless
            they train it in common.
        stages: `{stage: matrix}`, float64 `(networks, networks)`, in -1..1; not a number where a network answers
            constant features.
        layers: `{stage: layer}`, where each stage's features are taken.
        images: how many images are compared.
        pooled: whether the features are averaged over positions.
    """

    networks: tuple[str, ...]
    stages: dict[str, np.ndarray]
    layers: dict[str, str]
    images: int
    pooled: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain data and arrays."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        pairs = list(itertools.combinations(range(len(self.networks)), 2))
        labels = [f"{self.networks[i]}, {self.networks[j]}" for i, j in pairs]
        width = max(map(len, labels))
        columns = {stage: max(len(stage), 6) for stage in self.stages}
        head = "  ".join(f"{stage:>{size}}" for stage, size in columns.items())
        lines = [f"Similarity of the representations of {self.images} images", f"{'':<{width}}  {head}"]
        for (i, j), label in zip(pairs, labels, strict=True):
            numbers = "  ".join(f"{self.stages[stage][i, j]:>{size}.3f}" for stage, size in columns.items())
            lines.append(f"{label:<{width}}  {numbers}")
        return "\n".join(lines)


def representation_similarity(
    model: MultiTaskModel, images: np.ndarray, stages: Sequence[str] | None = None, pooled: bool = False
) -> RepresentationSimilarity:
    """Compares what the networks of the tasks, and the one they started from, make of the same images.

    At a stage, network t describes N images by the dissimilarity of each pair, `RDM_t[i, j] = 1 - Pearson(f_t(x_i),
    f_t(x_j))`, where `f_t(x)` are the features as one vector (Kriegeskorte, Mur and Bandettini 2008). Networks t and u
    are as similar as `Spearman(RDM_t, RDM_u)` over the pairs i > j (Dwivedi and Roig, CVPR 2019). The features of all
    images at all stages are in memory for one network at a time.

    Args:
        model: a `MultiTaskModel`.
        images: RGB in 0..255, `(n, height, width, channels)`, at least 3.
        stages: names of the backbone's layers. `None`: stem and stages of the package's ResNets, and of other
            backbones the maps `low_level` and `high_level` that decoders see.
        pooled: whether features are averaged over positions first, which asks what is in an image and not where.

    Returns:
        The `RepresentationSimilarity`.

    Raises:
        ValueError: if there are fewer than 3 images, or they have a wrong shape, or a stage is no layer.
    """
    images = np.asarray(images)
    first_batch.check_images(images, model.image_shape)
    if len(images) < 3:
        raise ValueError(f"`images` must be at least 3, or their similarities have no order. Received: {len(images)}")
    template = model.bank.template
    layers = _stage_layers(template, stages)
    networks = [(name, model.branch(name), f"{name}{SEPARATOR}") for name in model.tasks]
    if model.bank.method.shared_encoder is None:  # else the template is the encoder that the tasks train
        networks.append((PRETRAINED, template, ""))
    progress = keras.utils.Progbar(len(images) * len(networks), unit_name="image")
    ranks: dict[str, list[np.ndarray]] = {stage: [] for stage in layers}
    pairs = np.tril_indices(len(images), -1)
    for _, network, prefix in networks:
        features = _features(network, prefix, layers, images, pooled, progress)
        for stage in layers:
            dissimilarity = 1.0 - _correlation(np.concatenate(features.pop(stage)))
            ranks[stage].append(_ranks(dissimilarity[pairs]))
    return RepresentationSimilarity(
        networks=tuple(name for name, _, _ in networks),
        stages={stage: _correlation(np.stack(rows)) for stage, rows in ranks.items()},
        layers=layers,
        images=len(images),
        pooled=pooled,
    )


def _stage_layers(template: keras.Model, stages: Sequence[str] | None) -> dict[str, str]:
    """`{stage: name of its last layer}`."""
    outputs = _outputs(template, "")[1]
    if stages is None:
        seen_by_decoders = {
            name: producer(template.output[name]) for name in ("low_level", "high_level") if name in template.output
        }
        return _resnet_stages(outputs) or {name: layer.name for name, layer in seen_by_decoders.items()}
    if isinstance(stages, str) or not stages:
        raise ValueError(f"`stages` must be names of layers, at least one. Received: stages={stages!r}")
    for name in stages:
        if name not in outputs:
            raise unknown_name("stages", name, outputs)
    return {name: name for name in stages}


def _resnet_stages(names: Iterable[str]) -> dict[str, str]:
    """The last layers of the stages of the package's ResNets; none for other backbones."""
    last = {f"layer{stage}": f"layer{stage}_{block}_relu2" for stage, block in _blocks(names)}
    return {"stem": "relu", **last} if last and "relu" in names else {}


def _blocks(names: Iterable[str]) -> list[tuple[int, int]]:
    """`(stage, block)` in increasing order."""
    matches = [re.fullmatch(r"layer(\d+)_(\d+)_relu2", name) for name in names]
    return sorted((int(match[1]), int(match[2])) for match in matches if match)


def _outputs(network: keras.Model, prefix: str) -> tuple[keras.KerasTensor, dict[str, keras.KerasTensor]]:
    """A new input of a network, and the output of each of its layers by the layer's name in the template.

    Layers of the bank have outputs in every network, so the graph is walked anew instead of asking the layers.
    """
    outputs = {}

    def record(layer: keras.Operation, *args: Any, **kwargs: Any) -> keras.KerasTensor:
        answer = layer(*args, **kwargs)
        outputs[layer.name.removeprefix(prefix)] = answer
        return answer

    image = keras.Input(network.inputs[0].shape[1:])
    keras.models.clone_model(network, input_tensors=image, clone_function=lambda layer: layer, call_function=record)
    return image, outputs


def _features(
    network: keras.Model,
    prefix: str,
    layers: Mapping[str, str],
    images: np.ndarray,
    pooled: bool,
    progress: keras.utils.Progbar,
) -> dict[str, list[np.ndarray]]:
    """`{stage: batches of features}`, float32 `(batch, features)`."""
    image, outputs = _outputs(network, prefix)
    probe = keras.Model(image, {stage: outputs[layer] for stage, layer in layers.items()})
    features: dict[str, list[np.ndarray]] = {stage: [] for stage in layers}
    for start in range(0, len(images), _BATCH_SIZE):
        batch = images[start : start + _BATCH_SIZE]
        for stage, maps in probe(batch, training=False).items():  # not `predict`, which traces every network
            maps = keras.ops.convert_to_numpy(keras.ops.cast(maps, "float32")).reshape(len(batch), -1, maps.shape[-1])
            features[stage].append(maps.mean(axis=1) if pooled else maps.reshape(len(batch), -1))
        progress.add(len(batch))
    return features


def _correlation(rows: np.ndarray) -> np.ndarray:
    """Pearson's correlation of the rows of a matrix, in float64; not a number for a row that is constant."""
    means = rows.mean(axis=1, dtype="float64", keepdims=True)
    gram = np.zeros((len(rows), len(rows)))
    for start in range(0, rows.shape[1], _COLUMNS):
        centred = rows[:, start : start + _COLUMNS].astype("float64") - means
        gram += centred @ centred.T
    norms = np.sqrt(gram.diagonal())
    norms[norms == 0] = np.nan
    correlation = np.clip(gram / np.outer(norms, norms), -1.0, 1.0)
    np.fill_diagonal(correlation, np.where(np.isnan(norms), np.nan, 1.0))
    return correlation


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks, ties averaged; all not numbers if one is not."""
    return np.full(values.shape, np.nan) if np.isnan(values).any() else rankdata(values)
