"""The version of rc_keras, written here and nowhere else."""

__version__ = "0.2.0"
