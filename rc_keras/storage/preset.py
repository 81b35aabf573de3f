"""Presets: a model as a folder, with the bank and every task in a file of its own."""

import dataclasses
import json
import os
from typing import Any

import keras
import numpy as np

from rc_keras.files import manifest, safetensors_file
from rc_keras.files.folder_update import FolderUpdate
from rc_keras.files.half_precision import as_loaded
from rc_keras.files.named_weights import named_arrays
from rc_keras.files.plain_config import check_holds_no_code
from rc_keras.files.whole_files import write_whole
from rc_keras.network.bank import BANK_FORMAT, SUFFIX, FilterBank
from rc_keras.network.multi_task_network import MultiTaskNetwork
from rc_keras.reports.parameter_report import parameter_report
from rc_keras.storage import task_pack
from rc_keras.storage.preset_card import with_card
from rc_keras.version import __version__

PRESET_FORMAT = "rc_keras.preset.1"
CONFIG, METADATA, CARD = "config.json", "metadata.json", "README.md"
BANK = f"bank/bank{SUFFIX}"


def save(model: MultiTaskNetwork, directory: str | os.PathLike, dtype: str | None = None) -> None:
    """Writes a `MultiTaskModel` to a folder, see `MultiTaskModel.save_to_preset`."""
    if "://" in os.fspath(directory):
        raise ValueError(
            "`directory` must be a folder; for the Hugging Face Hub, save to one and then: hf upload owner/name DIR. "
            f"Received: directory={directory!r}"
        )
    task_pack.check_separable(model)
    _check_names_apart(model.tasks)
    identity = _identity(model.bank, dtype)
    with FolderUpdate(os.fspath(directory)) as folder:
        if os.path.exists(folder.path(METADATA)):
            read_json(folder.path(METADATA))
        if _holds_bank(folder, identity):
            folder.keep(BANK)
        else:
            folder.put(BANK, model.bank.to_bytes(dtype))
        for name in model.tasks:
            folder.put(pack_name(name), task_pack.to_bytes(model, name, dtype))
        folder.put(CONFIG, _to_json(_config(model, identity)))
        folder.put(METADATA, _to_json(_metadata(model, identity, dtype)))
        folder.commit()
        _write_card(folder.path(CARD), model, identity["fingerprint"], dtype)


def pack_name(task: str) -> str:
    """The file of a task in the folder; its name must be a legal one, for it becomes part of a path."""
    return f"tasks/{task}/task{task_pack.SUFFIX}"


def read_json(path: str) -> dict[str, Any]:
    """Reads the object in `config.json` or `metadata.json`.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: if it holds something else, or code.
    """
    with open(path, encoding="utf-8") as file:
        try:
            content = json.load(file)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} must be a JSON file of a preset. It cannot be read: {error}") from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != PRESET_FORMAT:
        raise ValueError(f"{path} must have the format {PRESET_FORMAT!r}. Received: {found!r}")
    check_holds_no_code(content, path)
    return content


def read_bank(path: str) -> tuple[dict[str, np.ndarray], dict[str, str | None]]:
    """Reads the file of a bank.

    Returns:
        `(tensors, identity)`, the latter as `_identity` has it.
    """
    tensors, metadata = safetensors_file.read(path, SUFFIX, BANK_FORMAT)
    return tensors, {"fingerprint": metadata.get("fingerprint"), "digest": safetensors_file.digest(tensors)}


def check_same_bank(path: str, identity: Any, expected: Any) -> None:
    """Raises `ValueError` if a file holds, or names, another bank than the one expected."""
    if identity != expected:
        raise ValueError(f"{path} must belong to the bank {expected}. Received: {identity}")


def _holds_bank(folder: FolderUpdate, own: dict[str, str]) -> bool:
    """Whether the folder holds the bank of this identity already; another one is an error."""
    config, weights = folder.path(CONFIG), folder.path(BANK)
    if os.path.exists(config):
        check_same_bank(config, read_json(config).get("bank"), own)
    if not os.path.exists(weights):
        return False
    check_same_bank(weights, read_bank(weights)[1], own)
    return True


def _identity(bank: FilterBank, dtype: str | None) -> dict[str, str]:
    """The fingerprint, of the shared kernels, and a digest of them together with what new tasks start from."""
    return {
        "fingerprint": bank.saved_fingerprint(dtype),
        "digest": safetensors_file.digest(as_loaded(named_arrays(bank.template.layers), dtype)),
    }


def _config(model: MultiTaskNetwork, bank: dict[str, str]) -> dict:
    config = model.get_config()
    del config["tasks"], config["decoders"]  # packs carry their own
    return {
        "format": PRESET_FORMAT,
        "manifest": manifest.NAME,
        "bank": bank,
        "tasks": model.tasks,
        "model": config,
    }


def _metadata(model: MultiTaskNetwork, bank: dict[str, str], dtype: str | None) -> dict:
    report = parameter_report(model)
    return {
        "format": PRESET_FORMAT,
        "rc_keras": __version__,
        "keras": keras.__version__,
        "method": model.bank.method.name,
        "fingerprint": bank["fingerprint"],
        **({} if dtype is None else {"precision": dtype}),
        "parameters": {
            "bank": report.bank,
            "tasks": {name: {**dataclasses.asdict(t), "total": t.total} for name, t in report.tasks.items()},
            "total": report.total,
        },
    }


def _check_names_apart(names: list[str]) -> None:
    """Some file systems do not tell `Edge` from `edge`."""
    folded = [name.casefold() for name in names]
    if len(set(folded)) < len(folded):
        raise ValueError(f"Names of tasks must differ in more than their case in files. Received: tasks={names}")


def _to_json(content: dict) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()


def _write_card(path: str, model: MultiTaskNetwork, fingerprint: str, dtype: str | None) -> None:
    """Writes the card, the last of all files, for it describes the others."""
    old = None
    if os.path.exists(path):
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            old = file.read()  # somebody's own may be in another encoding
    new = with_card(old, model, fingerprint, dtype)
    if new != old:
        write_whole(path, new.encode("utf-8", errors="surrogateescape"))
