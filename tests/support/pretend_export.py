"""Files that look like exports to what only reads their names and their description."""

import json


def describe_tasks(*names, joint=None):
    """A description with as much as the viewer's Python reads."""
    tasks = [{"name": name, "file": f"{name}.onnx"} for name in names]
    return {"format": "rc_keras.description", "format_version": 1, "joint": joint, "tasks": tasks}


def pretend_litert(folder, name="m.tflite"):
    """Path of a `.tflite` file with its description."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"the model")
    (folder / f"{name}.description.json").write_text(json.dumps(describe_tasks("depth")))
    return folder / name


def pretend_onnx(folder, *names, joint=None):
    """Path of a folder of graphs with its description."""
    folder.mkdir(exist_ok=True)
    for name in [*names, *filter(None, [joint])]:
        (folder / f"{name}.onnx").write_bytes(f"graph of {name}".encode())
    for name in names:
        (folder / f"{name}.bin").write_bytes(f"weights of {name}".encode())
    (folder / "bank.bin").write_bytes(b"the bank")
    (folder / "description.json").write_text(json.dumps(describe_tasks(*names, joint=joint)))
    return folder
