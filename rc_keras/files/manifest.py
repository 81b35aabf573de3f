"""Manifests: which files a folder holds, with lengths and digests, in a small file of its own."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from typing import TypeAlias

NAME = "manifest.json"
FORMAT = "rc_keras.manifest.1"

Entry: TypeAlias = Mapping[str, int | str]  # {"bytes": length, "sha256": 64 hexadecimal digits}

_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")  # no "..", no drive, nothing hidden


def entry_of_bytes(data: bytes) -> Entry:
    """What a manifest says of a file with this content."""
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def entry_of_file(path: str) -> Entry:
    """What a manifest says of a file that is there."""
    with open(path, "rb") as file:
        return {"bytes": os.fstat(file.fileno()).st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def is_file_of(path: str, entry: Entry) -> bool:
    """Whether a path holds the file that an entry describes."""
    return os.path.isfile(path) and os.path.getsize(path) == entry["bytes"] and entry_of_file(path) == entry


def check_file(path: str, entry: Entry) -> None:
    """Checks a file against its entry.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is another one, or damaged.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path} is missing: the {NAME} of its folder lists it")
    if not is_file_of(path, entry):
        raise ValueError(
            f"{path} must be the file that the {NAME} of its folder lists, of {entry['bytes']} bytes and with sha256 "
            f"{entry['sha256']}. Received: another one, or a damaged one, of {os.path.getsize(path)} bytes"
        )


def to_json(files: Mapping[str, Entry]) -> bytes:
    """The content of a manifest.

    Args:
        files: `{name: entry}`; names are relative to the folder, with `/`.
    """
    return (json.dumps({"format": FORMAT, "files": dict(sorted(files.items()))}, indent=1) + "\n").encode()


def of_folder(folder: str) -> dict[str, Entry]:
    """`{name: entry}` of all files in a folder and its folders."""
    paths = [os.path.join(root, name) for root, _, names in os.walk(folder) for name in names]
    return {os.path.relpath(path, folder).replace(os.sep, "/"): entry_of_file(path) for path in paths}


def read(folder: str) -> dict[str, Entry] | None:
    """Reads the manifest of a folder.

    Returns:
        `{name: entry}`; `None` where there is no manifest.

    Raises:
        ValueError: if it is damaged, or names a file outside of the folder.
    """
    path = os.path.join(folder, NAME)
    try:
        with open(path, "rb") as file:
            content = json.loads(file.read())
        if content["format"] != FORMAT:
            raise ValueError(f"its format must be {FORMAT!r}. Received: {content['format']!r}")
        return {_checked_name(name): _checked_entry(entry) for name, entry in content["files"].items()}
    except FileNotFoundError:
        return None
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"{path} must be a list of files with their digests. It cannot be read: {error}") from error


def _checked_name(name: str) -> str:
    if not all(_PART.fullmatch(part) for part in name.split("/")):
        raise ValueError(f"names must be of files in the folder. Received: {name!r}")
    return name


def _checked_entry(entry: Entry) -> Entry:
    length, digest = entry["bytes"], entry["sha256"]
    if type(length) is not int or not re.fullmatch("[0-9a-f]{64}", str(digest)):
        raise ValueError(f"a file must have `bytes` and a `sha256`. Received: {entry!r}")
    return {"bytes": length, "sha256": digest}
