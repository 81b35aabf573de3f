"""The filter bank: the frozen kernels all tasks share, and the pretrained network each task starts from."""

import functools
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from rc_keras.files import safetensors_file
from rc_keras.files.half_precision import as_loaded
from rc_keras.files.named_weights import assign_named, named_arrays, named_variables
from rc_keras.layers import BankConv2D, Frozen
from rc_keras.methods import Method, get_method
from rc_keras.network import response_init, truncation
from rc_keras.network.adapters import adapter_of, own_convolutions
from rc_keras.network.bank_network import in_convolutions, method_with, opened_backbone, stage_layers
from rc_keras.network.common_part import Split, split_template
from rc_keras.network.copies import SEPARATOR
from rc_keras.network.donor import Donor, with_features
from rc_keras.network.features import FEATURES
from rc_keras.network.opened import opened
from rc_keras.network.plain_network import plain_network
from rc_keras.network.template import all_filters, make_template

if TYPE_CHECKING:
    from rc_keras.network.multi_task_network import MultiTaskNetwork

BANK_FORMAT = "rc_keras.bank.1"
SUFFIX = ".safetensors"


class FilterBank:
    """The part of a pretrained network that no task owns.

    Built from a plain functional network, it holds a `template`: the same network with every convolution to be shared
    replaced by a frozen `BankConv2D` followed by a `Modulator`, or another adapter, which together compute what the
    convolution computed. A convolution is shared exactly when its adapter is the smaller of the two, for a modulator
    `c_out < k_h k_w c_in / groups`. Each task starts as a copy of the template that shares the `BankConv2D` layers and
    owns all the rest.

    With the methods that train a shared encoder the bank holds no kernels, and the template is that encoder.

    The stem and the first stages can be shared as a whole: there the template has the plain layers, each as a `Frozen`
    one, without anything of a task's own.

    With response initialization (RI; RCM section 3.3) the kernels are rotated into the eigenbasis U of their responses,
    strongest response first: `W_s = U^T W`, and modulators start as `W_t = U`.

    Args:
        backbone: a functional `keras.Model` with one image input, channels last, with its weights. It is copied.
        method: name of the method, a key of `rc_keras.methods.METHODS`.
        response_images: images for RI, see `response_init.response_statistics`. `None`: the data-free form, the
            eigenbasis of `W W^T`, as if the inputs of every kernel were white.
        response_energy: the share of the responses' variance to keep, above 0 and at most 1, for methods with RI.
            Each convolution then has its leading responses alone, and modulators are `rank x c_out`; what takes in
            more convolutions, see `truncation.leading_responses`. The pretrained function is kept up to the energy.
            `None` and 1: all responses.
        shared_stages: how many stages are shared as a whole, or the name of their last layer, see
            `shared_stages.shared_layers`; 0: none.
        pointwise_rank: the rank r of what a task adds to pointwise kernels, `(I + A_t B_t) W`: those of 1x1
            convolutions, of the pointwise part of separable convolutions, and of dense layers, which become 1x1
            convolutions in the template (see `pointwise.with_pointwise_convolutions`). They are shared by the same rule
            as the others, here `2 r < c_in / groups`. With `response_energy` too, one is cut instead where the
            modulator that it then needs is the smaller. `None`: as the method says.

    A bank may also come from a whole trained network, encoder and decoder, see `from_task`.

    Attributes:
        method: the `Method`.
        shared_stages: as given.
        template: the functional `keras.Model` described above.
        donor: the `Donor` of a bank that holds a decoder too; else `None`.
        convolutions: `{name: BankConv2D}`.
        response_report: `response_init.ResponseReport` of a bank that was made here; `None` without RI, and for a
            bank that was loaded.
    """

    def __init__(
        self,
        backbone: keras.Model,
        method: str | Method = "rcm",
        response_images: Any = None,
        response_energy: float | None = None,
        shared_stages: int | str = 0,
        pointwise_rank: int | None = None,
    ) -> None:
        self.method, self.shared_stages = method_with(method, pointwise_rank), shared_stages
        self.donor: Donor | None = None
        backbone = opened_backbone(backbone, self.method)
        self._make(backbone, backbone, response_images, response_energy)

    @classmethod
    def from_task(
        cls,
        model: "MultiTaskNetwork",
        task: str,
        response_images: Any = None,
        response_energy: float | None = None,
        method: str | Method = "rcm",
        shared_stages: int | str = 0,
        pointwise_rank: int | None = None,
    ) -> "FilterBank":
        """A bank of a task's whole network, encoder and decoder.

        What the model's own bank and the task's adapters amount to becomes the network that the new bank is made of;
        convolutions of the decoder are shared by the same rule as those of the encoder. Each dense task on the bank
        starts as a copy of this network with a head of its own, one of the donor's name and channels with the donor's
        head; tasks that are not dense start from the encoder. The bank is made once: what the model learns later does
        not reach it.

        Example:

        >>> bank = rc_keras.FilterBank.from_task(model, "semseg", images, response_energy=0.9)
        >>> model = rc_keras.build(["semseg", "depth", "normals"], bank=bank)

        Args:
            model: a `MultiTaskModel`.
            task: name of one of its tasks, the donor, which must be dense.
            response_images, response_energy, method, shared_stages: see `FilterBank`. Stages are those of the encoder,
                as the task has them, whatever the model's own bank shares as a whole.
            pointwise_rank: see `FilterBank`; `None`: that of the model's own bank.

        Raises:
            ValueError: if the task is unknown or not dense, or the method has no frozen bank; or if the task has
                adapters that are no linear maps of the responses, as those of `parallel_adapter`.
        """
        donor = model.task(task)
        if not donor.definition.dense:
            raise ValueError(
                f"`task` must be dense, for a bank of its decoder. Received: task={task!r}, {donor.kind!r}"
            )
        bank = cls.__new__(cls)
        bank.method, bank.shared_stages = get_method(method), shared_stages
        bank.donor = Donor(task, donor.channels, model.decoder(task))
        if not bank.method.shares_kernels:
            raise ValueError(f"`method` must be one with a frozen bank. Received: method={bank.method.name!r}")
        if pointwise_rank is None and bank.method.pointwise is None:
            pointwise_rank = model.bank.method.pointwise_rank
        bank.method = method_with(bank.method, pointwise_rank)
        whole = with_features(model.branch(task), model.bank.template)
        network = opened(plain_network(whole, prefix=f"{task}{SEPARATOR}"), bank.method.pointwise is not None)
        features = {name: network.output[name] for name in FEATURES if name in network.output}
        encoder = keras.Model(network.inputs[0], features, name=network.name)
        bank._make(network, encoder, response_images, response_energy)
        return bank

    def _make(self, network: keras.Model, encoder: keras.Model, images: Any, energy: float | None) -> None:
        if images is not None and not self.method.response_init:
            raise ValueError(
                f"`response_images` must be None for method {self.method.name!r}, which does not use response "
                "initialization."
            )
        truncation.check_energy(energy, self.method)
        energy = 1 if energy is None else energy
        self.response_report = None
        stages = stage_layers(encoder, self.method, self.shared_stages)
        network = in_convolutions(network, self.method)
        own = self.method.with_pointwise_rank(None) if energy < 1 else self.method  # cut first, see `split_pointwise`
        filters = all_filters(network, own, stages) if energy < 1 else None
        self.template = make_template(network, own, filters, stages)
        if not self.method.response_init:
            return
        self.response_report, means = response_init.rotate(self.template, own, images)
        if filters is not None:
            wide, report = self.template, self.response_report
            kept = truncation.leading_responses(wide, own, report, energy)
            kept, whole = truncation.split_pointwise(network, filters, self.method, kept)
            ranks = {name: found.rank for name, found in kept.items()} | whole
            self.template = make_template(network, self.method, ranks, stages)
            truncation.keep_leading(wide, self.template, self.method, means)
            spectra = {name: report.spectra[name] for name in kept}
            self.response_report = response_init.ResponseReport(report.images, spectra, kept)

    @classmethod
    def from_template(
        cls,
        template: keras.Model,
        method: str | Method,
        donor: Donor | None = None,
        shared_stages: int | str = 0,
    ) -> "FilterBank":
        """A bank around an existing template, whose weights may still be loaded."""
        bank = cls.__new__(cls)
        bank.method, bank.template, bank.response_report, bank.donor = get_method(method), template, None, donor
        bank.shared_stages = shared_stages
        return bank

    @classmethod
    def _with_weights(
        cls,
        backbone: keras.Model,
        method: Method,
        ranks: Mapping[str, int] | None,
        donor: Donor | None,
        shared_stages: int | str,
        tensors: Mapping[str, np.ndarray],
        source: str,
    ) -> "FilterBank":
        backbone = opened_backbone(backbone, method, {name.partition("/")[0] for name in tensors})
        stages = stage_layers(backbone, method, shared_stages)
        network = in_convolutions(backbone if donor is None else donor.network(backbone), method)
        template = make_template(network, method, ranks, stages)
        assign_named(named_variables(template.layers), tensors, source)
        return cls.from_template(template, method, donor, shared_stages)

    def for_backbone(self, backbone: keras.Model) -> "FilterBank":
        """The same bank in new layers, for a network of the same weights but another input size or output stride."""
        tensors = named_arrays(self.template.layers)
        made = (self.method, self.ranks, self.donor, self.shared_stages)
        bank = self._with_weights(backbone, *made, tensors, "the bank")
        bank.response_report = self.response_report
        return bank

    @classmethod
    def layers_in(cls, bank: "str | os.PathLike | FilterBank") -> set[str]:
        """Names of the layers whose weights a bank, or the file of one, holds."""
        if isinstance(bank, (str, os.PathLike)):
            tensors, _ = safetensors_file.read(bank, SUFFIX, BANK_FORMAT)
        else:
            tensors = named_arrays(bank.template.layers)
        return {name.partition("/")[0] for name in tensors}

    @property
    def convolutions(self) -> dict[str, BankConv2D]:
        return {layer.name: layer for layer in self.template.layers if isinstance(layer, BankConv2D)}

    @property
    def frozen_layers(self) -> list[Frozen]:
        """The layers of the stages that are shared as a whole."""
        return [layer for layer in self.template.layers if isinstance(layer, Frozen)]

    @functools.cached_property
    def split(self) -> Split | None:
        """See `common_part.split_template`; `None` also where tasks train an encoder in common."""
        return None if self.method.shared_encoder is not None else split_template(self.template)

    @functools.cached_property
    def common_part(self) -> keras.Model | None:
        """What the branches of all tasks compute alike.

        A functional `keras.Model` on the template's layers, from the image to `{name: what the rest takes}`, without
        the image itself; `None` where the part holds nothing of the bank, or tasks train an encoder in common.
        """
        return None if self.split is None else self.split.common_model(self.split.inputs)

    @property
    def ranks(self) -> dict[str, int] | None:
        """`{name: number of responses}` of a truncated bank; `None` where all are kept."""
        if not self.method.response_init:
            return None
        ranks = {name: layer.filters for name, layer in self.convolutions.items()}
        own = {layer.name for layer in own_convolutions(self.template, self.method)}
        adapters = {name: adapter_of(self.template, name, self.method) for name in own}
        shapes = {name: a.compute_output_shape((None, None, None, ranks[name])) for name, a in adapters.items()}
        return None if all(ranks[name] == shape[-1] for name, shape in shapes.items()) else ranks

    @property
    def size(self) -> int:
        """Number of shared weights; moving statistics are not counted."""
        shared = [layer.kernel for layer in self.convolutions.values()]
        shared += [w for layer in self.frozen_layers for w in layer.weights if not w.name.startswith("moving_")]
        return sum(int(np.prod(w.shape)) for w in shared)

    @property
    def fingerprint(self) -> str:
        """sha256 over the sorted names, shapes, dtypes and bytes of what tasks share, 64 hexadecimal digits.

        That is the kernels, and all weights of the stages that are shared as a whole.
        """
        return self.saved_fingerprint(None)

    def saved_fingerprint(self, dtype: str | None) -> str:
        """The fingerprint of the bank that is loaded where this one was saved as `dtype`.

        Rounded kernels are other kernels: a bank in half precision has another fingerprint than the one it was made of.

        Args:
            dtype: see `MultiTaskModel.save_to_preset`.
        """
        kernels = {name: keras.ops.convert_to_numpy(layer.kernel) for name, layer in self.convolutions.items()}
        return safetensors_file.digest(as_loaded(kernels | named_arrays(self.frozen_layers), dtype))

    def save(self, path: str | os.PathLike) -> None:
        """Writes the bank, and what new tasks start from, to one `.safetensors` file.

        Raises:
            ValueError: if the suffix is another one.
            OSError: if the file cannot be written; what stood there before stays.
        """
        safetensors_file.write(path, SUFFIX, self.to_bytes())

    def to_bytes(self, dtype: str | None = None) -> bytes:
        """The content of the file that `save` writes; for `dtype` see `saved_fingerprint`."""
        metadata = {"fingerprint": self.saved_fingerprint(dtype), "method": self.method.name}
        if self.ranks is not None:
            metadata["ranks"] = json.dumps(self.ranks)
        if self.donor is not None:
            metadata["donor"] = self.donor.to_json()
        if self.shared_stages:
            metadata["shared_stages"] = json.dumps(self.shared_stages)
        return safetensors_file.to_bytes(BANK_FORMAT, named_arrays(self.template.layers), metadata, dtype)

    @classmethod
    def load(cls, path: str | os.PathLike, backbone: keras.Model) -> "FilterBank":
        """Reads a bank written by `save`.

        Args:
            path: the file.
            backbone: the plain network the bank was made from, without a decoder; only its structure is used.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is no bank, is damaged, or was made from another network. Differences are listed by
                name.
        """
        tensors, metadata = safetensors_file.read(path, SUFFIX, BANK_FORMAT)
        ranks = json.loads(metadata["ranks"]) if "ranks" in metadata else None
        donor = Donor.from_json(metadata["donor"], os.fspath(path)) if "donor" in metadata else None
        stages = json.loads(metadata.get("shared_stages") or "0")
        made = (get_method(metadata["method"]), ranks, donor, stages)
        return cls._with_weights(backbone, *made, tensors, os.fspath(path))
