"""Layers: the shared bank convolution, the per-task modulator, and Keras layers with a faster path."""

from rc_keras.layers.bank_conv2d import BankConv2D
from rc_keras.layers.batch_normalization import BatchNormalization
from rc_keras.layers.conv2d import Conv2D
from rc_keras.layers.modulator import Modulator
from rc_keras.layers.resize_to import ResizeTo

__all__ = ["BankConv2D", "BatchNormalization", "Conv2D", "Modulator", "ResizeTo"]
