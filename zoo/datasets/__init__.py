"""Datasets as TensorFlow Datasets builders, one folder each."""
