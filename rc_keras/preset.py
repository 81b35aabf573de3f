"""Presets: a model as a folder, with the bank and every task in a file of its own."""

import contextlib
import dataclasses
import json
import os

import keras

from rc_keras import safetensors_file, task_pack
from rc_keras.bank import BANK_FORMAT, SUFFIX
from rc_keras.named_weights import named_arrays
from rc_keras.preset_card import with_card
from rc_keras.version import __version__
from rc_keras.whole_files import changed_file

PRESET_FORMAT = "rc_keras.preset.1"
CONFIG = "config.json"


def save(model, directory):
    """Writes a `MultiTaskModel` to a folder, see `MultiTaskModel.save_to_preset`."""
    directory = os.fspath(directory)
    task_pack.check_separable(model)
    _check_names_apart(model.tasks)
    metadata_path, card_path = (os.path.join(directory, name) for name in ("metadata.json", "README.md"))
    if os.path.exists(metadata_path):
        read_json(metadata_path)
    found = _found_bank(model.bank, directory)
    for folder in (bank_path(directory), *(pack_path(directory, name) for name in model.tasks)):
        os.makedirs(os.path.dirname(folder), exist_ok=True)
    with contextlib.ExitStack() as files:
        # Every file is written before the first gets its name, and names are given in reverse: the config's is last.
        _write_text(files, os.path.join(directory, CONFIG), _to_json(_config(model)))
        _write_text(files, metadata_path, _to_json(_metadata(model)))
        _write_text(files, card_path, with_card(_read_text(card_path), model))
        for name in model.tasks:
            task_pack.save(model, name, files.enter_context(changed_file(pack_path(directory, name))))
        if not found:
            model.bank.save(files.enter_context(changed_file(bank_path(directory))))


def bank_path(directory):
    return os.path.join(directory, "bank", f"bank{SUFFIX}")


def pack_path(directory, name):
    """The file of a task, whose name must be a legal one: it becomes part of the path."""
    return os.path.join(directory, "tasks", name, f"task{task_pack.SUFFIX}")


def read_json(path):
    """Reads the object in `config.json` or `metadata.json`.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: if it holds something else.
    """
    with open(path, encoding="utf-8") as file:
        try:
            content = json.load(file)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} must be a JSON file of a preset. It cannot be read: {error}") from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != PRESET_FORMAT:
        raise ValueError(f"{path} must have the format {PRESET_FORMAT!r}. Received: {found!r}")
    return content


def read_bank(path):
    """Reads the file of a bank.

    Returns:
        `(tensors, identity)`, the latter as `_identity` has it.
    """
    tensors, metadata = safetensors_file.read(path, SUFFIX, BANK_FORMAT)
    return tensors, {"fingerprint": metadata.get("fingerprint"), "digest": safetensors_file.digest(tensors)}


def check_same_bank(path, identity, expected):
    """Raises `ValueError` if a file holds, or names, another bank than the one expected."""
    if identity != expected:
        raise ValueError(f"{path} must belong to the bank {expected}. Received: {identity}")


def _found_bank(bank, directory):
    """Whether the folder holds this bank already; another one is an error."""
    own = _identity(bank)
    config, weights = os.path.join(directory, CONFIG), bank_path(directory)
    if os.path.exists(config):
        check_same_bank(config, read_json(config).get("bank"), own)
    if not os.path.exists(weights):
        return False
    check_same_bank(weights, read_bank(weights)[1], own)
    return True


def _identity(bank):
    """The fingerprint, of the shared kernels, and a digest of them together with what new tasks start from."""
    return {
        "fingerprint": bank.fingerprint,
        "digest": safetensors_file.digest(named_arrays(bank.template.layers)),
    }


def _config(model):
    config = model.get_config()
    del config["tasks"], config["decoders"]  # packs carry their own
    return {"format": PRESET_FORMAT, "bank": _identity(model.bank), "tasks": model.tasks, "model": config}


def _metadata(model):
    report = model.parameter_report()
    return {
        "format": PRESET_FORMAT,
        "rc_keras": __version__,
        "keras": keras.__version__,
        "method": model.bank.method.name,
        "fingerprint": model.bank.fingerprint,
        "parameters": {
            "bank": report.bank,
            "tasks": {name: {**dataclasses.asdict(t), "total": t.total} for name, t in report.tasks.items()},
            "total": report.total,
        },
    }


def _check_names_apart(names):
    """Some file systems do not tell `Edge` from `edge`."""
    folded = [name.casefold() for name in names]
    if len(set(folded)) < len(folded):
        raise ValueError(f"Names of tasks must differ in more than their case in files. Received: tasks={names}")


def _to_json(content):
    return json.dumps(content, indent=1) + "\n"


def _read_text(path):
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return file.read()


def _write_text(files, path, text):
    with open(files.enter_context(changed_file(path)), "wb") as file:
        file.write(text.encode("utf-8", errors="surrogateescape"))  # somebody's README.md may be in another encoding
