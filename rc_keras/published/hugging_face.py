"""Presets on the Hugging Face Hub."""

import os
import re
from collections.abc import Sequence

from rc_keras.files import manifest
from rc_keras.published.needed_files import needed_files
from rc_keras.version import __version__

SCHEME = "hf://"
_HANDLE = re.compile(SCHEME + r"(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?", re.ASCII)


def hub_folder(handle: str, tasks: Sequence[str] | None = None) -> str:
    """The folder on this machine, in the cache of `huggingface_hub`, of a preset on the Hub.

    Only the files that are needed are fetched, all of one commit, and only those that the preset's manifest lists. What
    is there is not fetched again. `huggingface_hub` has its own environment variables: `HF_HOME` for the cache,
    `HF_TOKEN` for private repositories, `HF_ENDPOINT` for another server, `HF_HUB_OFFLINE=1` for no network.

    Args:
        handle: `"hf://owner/name"`, or `"hf://owner/name@revision"` with a branch, a tag or a commit.
        tasks: the tasks whose packs are needed; `None`: all.

    Raises:
        ImportError: if `huggingface_hub` is not installed.
        OSError: if a file cannot be had.
        ValueError: if the handle is malformed, or the manifest is damaged or lists files outside of its folder.
    """
    match = _HANDLE.fullmatch(handle)
    if match is None:
        raise ValueError(
            "`directory` must be 'hf://owner/name' or 'hf://owner/name@revision' for a preset on the Hugging Face Hub. "
            f"Received: directory={handle!r}"
        )
    listed = _fetch(handle, match["repository"], manifest.NAME, match["revision"])
    folder = os.path.dirname(listed)
    files = manifest.read(folder)
    for name in needed_files(files or (), tasks):
        _fetch(handle, match["repository"], name, os.path.basename(folder))
    return folder


def _fetch(handle: str, repository: str, name: str, revision: str | None) -> str:
    """The path of a file in the cache, whose folder is named by the commit."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError(
            f"Presets of the Hugging Face Hub need huggingface_hub: pip install rc_keras[hub]. Received: {handle!r}"
        ) from error
    try:
        return huggingface_hub.hf_hub_download(
            repository, name, revision=revision, library_name="rc_keras", library_version=__version__
        )
    except Exception as error:  # of many classes, which differ between its versions
        raise OSError(
            f"{name} of the preset {handle} could not be had from the Hugging Face Hub ({error}). Without a network: "
            f"get the repository by other means, for instance `hf download {repository} --local-dir DIR` elsewhere, "
            "and pass its folder"
        ) from error
