"""The card of a preset: the part of its README.md that is written when it is saved."""

from rc_keras.network.multi_task_network import MultiTaskNetwork
from rc_keras.reports.parameter_report import parameter_report

BEGIN = "<!-- rc_keras: written by save_to_preset, edit outside -->"
END = "<!-- rc_keras: end -->"


def with_card(text: str | None, model: MultiTaskNetwork, fingerprint: str, dtype: str | None) -> str:
    """The content of a README.md with the card of a `MultiTaskModel`.

    Args:
        text: what the file holds; what stands outside of the card's two marks is kept, and a text without them is
            somebody's own and kept as it is. `None`: there is no file.
        model: the model.
        fingerprint: of the bank as saved.
        dtype: the precision that it is saved in, if that is not the model's own.
    """
    card = f"{BEGIN}\n{_card(model, fingerprint, dtype)}\n{END}"
    if text is None:
        return card + "\n"
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    return before + card + after if begin and end else text


def _card(model: MultiTaskNetwork, fingerprint: str, dtype: str | None) -> str:
    report = parameter_report(model)
    height, width, channels = ("any" if size is None else size for size in model.image_shape)
    tasks = [model.task(name) for name in model.tasks]
    rows = [f"| `{task.name}` | {task.kind} | {task.channels} | {report.tasks[task.name].total:,} |" for task in tasks]
    classes = [f"- `{task.name}`: {_one_line(', '.join(task.class_names))}" for task in tasks if task.class_names]
    lines = [
        f"# {', '.join(model.tasks)}",
        "",
        f"A multi-task model of [Keras](https://keras.io) and `rc_keras`: backbone `{model.bank.template.name}`, "
        f"method `{model.bank.method.name}`, images of {height} x {width} x {channels} (RGB in 0..255).",
        "",
        "| task | kind | channels | parameters |",
        "| --- | --- | ---: | ---: |",
        *rows,
        f"| shared bank | | | {report.bank:,} |",
        f"| all | | | {report.total:,} |",
        "",
        *(["Classes, from 0:", "", *classes, ""] if classes else []),
        "```python",
        "import rc_keras",
        "",
        'model = rc_keras.from_preset("this_folder")  # all tasks',
        f'model = rc_keras.from_preset("this_folder", tasks=["{model.tasks[0]}"])  # or some',
        "predictions = model.predict(images)  # {task: raw prediction}",
        "```",
        "",
        f"`bank/bank.safetensors` holds what the tasks share (fingerprint `{fingerprint}`), "
        "`tasks/<name>/task.rctask` what is a task's own, `config.json` the structure.",
        *([f"Kernels are stored as {dtype} and loaded as float32."] if dtype else []),
    ]
    return "\n".join(lines)


def _one_line(text: str) -> str:
    return " ".join(text.split())
