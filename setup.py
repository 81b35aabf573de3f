"""Packaging of rc_keras: three source folders, installed as one package."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
PACKAGE_DIR = {"rc_keras": "rc_keras", "rc_keras.zoo": "zoo", "rc_keras.export": "export"}

HUB = ["huggingface_hub>=0.34"]
LITERT = ["ai-edge-litert>=2.1"]
ONNX = ["onnx>=1.18", "onnxruntime>=1.22"]
VIZ = ["matplotlib>=3.10", "pillow>=11"]
TRAIN = ["tensorboard>=2.19", "pillow>=11"]
CHECKS = ["pytest>=8", "dill", "pytest-xdist>=3.6", "ruff>=0.12", "mypy>=1.15"]
DOCS = ["mkdocs-material>=9.7", "mkdocstrings-python>=2.0", "nbclient>=0.10", "ipykernel>=6.29"]
REFERENCES = ["jax>=0.7", "torch>=2.8", "scikit-image>=0.25", "scikit-learn>=1.6"]


def read_version() -> str:
    """The version, read as text so that packaging never imports Keras."""
    text = (ROOT / "rc_keras" / "version.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE).group(1)


def read_long_description() -> str:
    readme = ROOT / "README.md"
    return readme.read_text(encoding="utf-8") if readme.exists() else ""


def list_packages() -> list[str]:
    """Every package of the three source folders, under its installed name."""
    return [
        name
        for package, folder in PACKAGE_DIR.items()
        for name in [package, *(f"{package}.{sub}" for sub in find_packages(str(ROOT / folder)))]
    ]


setup(
    name="rc_keras",
    version=read_version(),
    description="Incremental multi-task dense prediction with reparameterized convolutions, for Keras 3.",
    long_description=read_long_description(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    python_requires=">=3.11,<3.14",
    package_dir=PACKAGE_DIR,
    packages=list_packages(),
    package_data={
        "": ["py.typed", "*.md", "*.bib", "*.txt", "*.tsv", "*.csv", "*.json"],
        "rc_keras.published": ["packaged/**"],
        "rc_keras.view": ["static/*.html", "static/*.css", "static/*.js", "static/examples/*.jpg"],
    },
    include_package_data=False,
    install_requires=[
        "absl-py",
        "h5py",
        "keras>=3.15,<3.17",
        "numpy>=2",
        "safetensors>=0.5",
        "scipy>=1.14",
        "tensorflow>=2.21",
        "tensorflow-datasets>=4.9.10",
        "tf2onnx>=1.17",
    ],
    extras_require={
        "hub": HUB,
        "litert": LITERT,
        "onnx": ONNX,
        "viz": VIZ,
        "train": TRAIN,
        "docs": DOCS,
        "dev": [*CHECKS, *DOCS, *REFERENCES, *HUB, *LITERT, *ONNX, *VIZ, *TRAIN],
    },
)
