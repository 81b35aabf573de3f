"""Layers: the shared bank convolution, what a task adds to it, and Keras layers with a faster path."""

from rc_keras.layers.adapter import Adapter
from rc_keras.layers.bank_concat_conv2d import BankConcatConv2D
from rc_keras.layers.bank_conv2d import BankConv2D
from rc_keras.layers.batch_normalization import BatchNormalization
from rc_keras.layers.bias import Bias
from rc_keras.layers.channel_modulation import ChannelModulation
from rc_keras.layers.concat_conv2d import ConcatConv2D
from rc_keras.layers.conv2d import Conv2D
from rc_keras.layers.frozen import Frozen
from rc_keras.layers.low_rank_modulator import LowRankModulator
from rc_keras.layers.modulator import Modulator
from rc_keras.layers.parallel_adapter import ParallelAdapter
from rc_keras.layers.pointwise_modulator import PointwiseModulator
from rc_keras.layers.resize_to import ResizeTo
from rc_keras.layers.series_adapter import SeriesAdapter
from rc_keras.layers.squeeze_excite import SqueezeExcite

__all__ = [
    "Adapter",
    "BankConcatConv2D",
    "BankConv2D",
    "BatchNormalization",
    "Bias",
    "ChannelModulation",
    "ConcatConv2D",
    "Conv2D",
    "Frozen",
    "LowRankModulator",
    "Modulator",
    "ParallelAdapter",
    "PointwiseModulator",
    "ResizeTo",
    "SeriesAdapter",
    "SqueezeExcite",
]
