"""The page the demo leaves: `index.html`, which refers to files beside it and to nothing else."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

import rc_keras
from rc_keras.export.report import ExportReport
from rc_keras.files.whole_files import write_whole
from rc_keras.tasks.legend import Legend, Sample, Swatches
from rc_keras.tasks.task import Task
from rc_keras.zoo.demo.charts import draw_curve
from rc_keras.zoo.demo.config import DemoConfig
from rc_keras.zoo.demo.pictures import write_picture, write_pictures
from rc_keras.zoo.demo.results import DemoResults
from rc_keras.zoo.demo.style import STYLE


def write_page(
    out: pathlib.Path,
    config: DemoConfig,
    shipped: rc_keras.MultiTaskModel,
    tasks: Sequence[Task],
    results: DemoResults,
    shown: Mapping[str, np.ndarray],
    answers: Mapping[str, Mapping[str, np.ndarray]],
) -> None:
    """Writes pictures and charts, and at the end `index.html`.

    Args:
        out: the folder, a `pathlib.Path`; `model.tflite` and `model.keras` are there already.
        config: the `DemoConfig`.
        shipped: the preset.
        tasks: the `Task`s that were trained, the added one last.
        results: the `DemoResults`.
        shown: `{feature: array}` of the validation images on the page and their labels.
        answers: activated predictions for these images: `"shipped"` of the preset, `"file"` of the exported file.
    """
    pictures = out / "pictures"
    pictures.mkdir(exist_ok=True)
    all_tasks = [shipped.task(name) for name in shipped.tasks]
    depth_range = write_pictures(pictures, all_tasks, shown, answers)
    legends = {task.name: task.definition.legend(task, depth_range) for task in all_tasks}
    for name, legend in legends.items():
        if isinstance(legend, Sample):
            write_picture(pictures / f"{name}-key.png", legend.picture)
    for task, result in zip(tasks, results.tasks, strict=True):
        draw_curve(pictures / f"curve-{task.name}.png", task, result, results.histories)
    results.export.plot(pictures / "sizes.png")
    names, count = [task.name for task in tasks], len(shown["image"])
    sections = (
        _introduction(config, shipped, names, results),
        _shipped(config, legends, count),
        _trained(config, names, count),
        _table(config, results),
        _unchanged(config, results),
        _curves(tasks),
        _parameters(results),
        _export(results.export),
        _next_steps(out, tasks),
        _how(config, results),
    )
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>rc_keras: many answers from one picture</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{''.join(sections)}</main>\n</body>\n</html>\n"
    )
    write_whole(out / "index.html", page.encode())


def _introduction(
    config: DemoConfig, shipped: rc_keras.MultiTaskModel, names: Sequence[str], results: DemoResults
) -> str:
    first, added = " and ".join((", ".join(config.tasks[:-1]), config.tasks[-1])), config.added_task
    saved = 100 * (1 - results.parameters.total / results.separate_parameters)
    minutes = sum(results.seconds.values()) / 60
    facts = (
        (f"{minutes:.1f} min", f"for this page, with {len(names)} tasks trained"),
        (f"−{saved:.0f} %", "parameters, against a plain network for each task"),
        (f"{results.differing:,} of {results.compared:,}", f"predicted numbers changed when {added} was added"),
        (f"{results.export.file_bytes / 1e6:.2f} MB", f"one file with all {len(names)} tasks"),
    )
    cells = "".join(f"<div><b>{escape(value)}</b><span>{escape(text)}</span></div>" for value, text in facts)
    return f"""<h1>{len(shipped.tasks)} answers from one picture, on one frozen filter bank</h1>
<p class="lead">The kernels of a network were frozen and became a <em>filter bank</em>; each task has modulators, norms
and a head of its own beside it. The package ships such a bank with {len(shipped.tasks)} tasks, the preset
<code>{escape(config.preset)}</code>. This page shows what they answer, and then what happened here:
{escape(first)} were trained anew on the same bank, {escape(added)} was added later, and all went into one LiteRT
file.</p>
<div class="facts">{cells}</div>
"""


def _shipped(config: DemoConfig, legends: Mapping[str, Legend], count: int) -> str:
    keys = "".join(f"<div><h3>{escape(name)}</h3>{_key(name, legend)}</div>" for name, legend in legends.items())
    return f"""<h2>What the shipped tasks answer</h2>
<p>Rooms that nothing was trained on, rendered here: the truth, and the prediction of
<code>rc_keras.from_preset({escape(repr(config.preset), quote=False)})</code>.</p>
{_rooms(list(legends), count, "shipped")}
<div class="keys">{keys}</div>
"""


def _trained(config: DemoConfig, names: Sequence[str], count: int) -> str:
    return f"""<h2>What was trained here</h2>
<p>The same rooms, and the same bank. These tasks saw {config.task_images} rooms for {config.epochs} epochs; LiteRT
computed their predictions from <code>model.tflite</code>.</p>
{_rooms(names, count, "file")}
"""


def _rooms(names: Sequence[str], count: int, model: str) -> str:
    rooms = []
    for i in range(count):
        cells = [
            f"<figure><figcaption>room {i + 1}</figcaption>"
            f'<img class="photo" src="pictures/{i}-image.png" alt="room {i + 1}" loading="lazy"></figure>',
            '<p class="note soft">Of each task the truth, and the prediction.</p>',
        ]
        for name in names:
            for kind, text in (("truth", "truth"), (model, "prediction")):
                caption = f"{escape(name)}, {text}"
                cells.append(
                    f"<figure><figcaption>{caption}</figcaption>"
                    f'<img src="pictures/{i}-{name}-{kind}.png" alt="{caption}" loading="lazy"></figure>'
                )
        rooms.append(f'<div class="room">{"".join(cells)}</div>\n')
    return "".join(rooms)


def _key(name: str, legend: Legend) -> str:
    if isinstance(legend, Swatches):
        items = "".join(
            f'<li><i style="background: {_rgb(colour)}"></i>{escape(label)}</li>'
            for label, colour in zip(legend.names, legend.colours, strict=True)
        )
        return f'<ul class="classes">{items}</ul>'
    if isinstance(legend, Sample):
        return (
            f'<div class="ball"><img src="pictures/{name}-key.png" alt="{escape(legend.title)}">'
            f"<span>{escape(legend.text)}</span></div>"
        )
    stops = ", ".join(map(_rgb, legend.colours))
    return (
        f'<div class="ramp" style="background: linear-gradient(90deg, {stops})"></div>'
        f'<div class="ends"><span>{escape(legend.low)}</span><span>{escape(legend.high)}</span></div>'
    )


def _rgb(colour: np.ndarray) -> str:
    return f"rgb{tuple(map(int, colour))}"


def _table(config: DemoConfig, results: DemoResults) -> str:
    rows = []
    for task in results.tasks:
        shipped = "" if task.shipped is None else task.show(task.shipped)
        rows.append(
            f'<tr><td>{escape(task.name)}</td><td class="text">{task.measure.name} {task.measure.arrow}</td>'
            f"<td>{task.show(task.baseline)}<br><small>{escape(task.guess)}</small></td>"
            f"<td>{task.show(task.trained)}</td><td>{shipped}</td></tr>"
        )
    return f"""<h2>How good is that?</h2>
<p>On {config.validation_images} validation images, one run; another seed moves these numbers. The first column looks at
no image; the last is the shipped task, which saw many more rooms. ↑ higher is better, ↓ lower is better.</p>
<div class="wide"><table><thead><tr><th>task</th><th class="text">metric</th><th>no image</th><th>trained here</th>
<th>shipped</th></tr></thead><tbody>{"".join(rows)}</tbody></table></div>
"""


def _unchanged(config: DemoConfig, results: DemoResults) -> str:
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{task['compared']:,}</td>"
        f'<td class="{"bad" if task["differing"] else "good"}">{task["differing"]:,}</td></tr>'
        for name, task in results.comparison.items()
    )
    verdict = "Bit for bit the same." if not results.differing else "They are not the same."
    return f"""<h2>{escape(config.added_task).capitalize()} was added. What changed for the others?</h2>
<p><b class="{"bad" if results.differing else "good"}">{verdict}</b> The predictions for all {config.validation_images}
validation images, before {escape(config.added_task)} was added and after it was trained, compared number by number,
without a tolerance.</p>
<div class="wide"><table><thead><tr><th>task</th><th>numbers compared</th><th>different</th></tr></thead>
<tbody>{rows}</tbody></table></div>
"""


def _curves(tasks: Sequence[Task]) -> str:
    images = "".join(
        f'<img src="pictures/curve-{task.name}.png" alt="training curve of {escape(task.name)}">' for task in tasks
    )
    return f"""<h2>Training</h2>
<p>The metric on the validation images after each epoch.</p>
<div class="charts">{images}</div>
"""


def _parameters(results: DemoResults) -> str:
    report = results.parameters
    fields = [field.name for field in dataclasses.fields(next(iter(report.tasks.values())))]
    head = "".join(f"<th>{name}</th>" for name in (*fields, "total"))
    rows = ""
    for name, task in report.tasks.items():
        counts = "".join(f"<td>{getattr(task, field):,}</td>" for field in (*fields, "total"))
        rows += f"<tr><td>{escape(name)}</td>{counts}</tr>"
    empty = f'<td colspan="{len(fields)}"></td>'
    return f"""<h2>What a task owns</h2>
<p>Numbers of parameters. The bank is stored once, whatever the number of tasks.</p>
<div class="wide"><table><thead><tr><th>task</th>{head}</tr></thead><tbody>{rows}
<tr><td>shared bank</td>{empty}<td>{report.bank:,}</td></tr>
<tr class="sum"><td>all</td>{empty}<td>{report.total:,}</td></tr>
<tr><td>a plain network each</td>{empty}<td>{results.separate_parameters:,}</td></tr></tbody></table></div>
"""


def _export(report: ExportReport) -> str:
    return f"""<h2>The file</h2>
<p><code>model.tflite</code> was run in LiteRT and compared with the model before it got its name.</p>
<div class="chart"><img src="pictures/sizes.png" alt="size of one file and of separate files"></div>
<pre class="report">{escape(str(report))}</pre>
"""


def _next_steps(out: pathlib.Path, tasks: Sequence[Task]) -> str:
    name = tasks[-1].name
    return f"""<h2>Next</h2>
<p>Run the file; nothing but <code>ai-edge-litert</code>, NumPy and Pillow is needed:</p>
<pre><code>import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

image = np.asarray(Image.open({escape(repr(f"{out}/pictures/0-image.png"), quote=False)}), "float32")[None]
interpreter = Interpreter({escape(repr(f"{out}/model.tflite"), quote=False)})
for task in interpreter.get_signature_list():
    print(task, interpreter.get_signature_runner(task)(image=image)[task].shape)
</code></pre>
<p>Go on with the model; put one task in a file of its own, take it out, and put it back:</p>
<pre><code>import keras
import rc_keras

model = keras.saving.load_model({escape(repr(f"{out}/model.keras"), quote=False)})
model.save_task({name!r}, {escape(repr(f"{out}/{name}.rctask"), quote=False)})
model.remove_task({name!r})
model.load_task({escape(repr(f"{out}/{name}.rctask"), quote=False)})
print(model.parameter_report())
</code></pre>
"""


def _how(config: DemoConfig, results: DemoResults) -> str:
    seconds = "".join(
        f"<tr><td>{escape(stage)}</td><td>{value:.0f} s</td></tr>" for stage, value in results.seconds.items()
    )
    total = sum(results.seconds.values())
    return f"""<h2>How this page was made</h2>
<p>{config.task_images} rooms that the preset was not trained on, half of them mirrored, {config.epochs} epochs, batches
of {config.batch_size}, Adam. Each task starts as the network that the bank was made of, with a new head. Everything is
in <a href="config.json">config.json</a> and <a href="results.json">results.json</a>. These are minutes of training on
rendered pictures: they show how the parts fit together, not what the method reaches.</p>
<div class="wide" style="max-width: 24rem"><table><thead><tr><th>stage</th><th>time</th></tr></thead><tbody>{seconds}
<tr class="sum"><td>all</td><td>{total:.0f} s</td></tr></tbody></table></div>
"""
