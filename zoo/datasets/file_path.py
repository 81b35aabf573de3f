"""The type of paths that files of data sets are read from."""

import pathlib
from typing import TypeAlias

import tensorflow_datasets as tfds

# TFDS has paths of its own, which may lie in the cloud.
FilePath: TypeAlias = pathlib.Path | tfds.core.Path
