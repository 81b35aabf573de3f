"""Datasets, preprocessing and recipes around `rc_keras`."""
