"""The page the demo leaves: `index.html`, which refers to files beside it and to nothing else."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from rc_keras.export.report import ExportReport
from rc_keras.files.whole_files import write_whole
from rc_keras.network.response_init import ENERGIES, ResponseReport
from rc_keras.tasks.legend import Legend, Sample, Swatches
from rc_keras.tasks.task import Task
from rc_keras.zoo.demo.charts import draw_curve, draw_energy
from rc_keras.zoo.demo.config import DemoConfig
from rc_keras.zoo.demo.pictures import write_picture, write_pictures
from rc_keras.zoo.demo.results import DemoResults
from rc_keras.zoo.demo.style import STYLE


def write_page(
    out: pathlib.Path,
    config: DemoConfig,
    tasks: Sequence[Task],
    results: DemoResults,
    shown: Mapping[str, np.ndarray],
    answers: Mapping[str, np.ndarray],
) -> None:
    """Writes pictures and charts, and at the end `index.html`.

    Args:
        out: the folder, a `pathlib.Path`; `model.tflite` and `model.keras` are there already.
        config: the `DemoConfig`.
        tasks: the `Task`s, the added one last.
        results: the `DemoResults`.
        shown: `{feature: array}` of the validation images on the page and their labels.
        answers: `{task: activated predictions}` of the exported file for these images.
    """
    pictures = out / "pictures"
    pictures.mkdir(exist_ok=True)
    depth_range = write_pictures(pictures, tasks, shown, answers)
    legends = {task.name: task.definition.legend(task, depth_range) for task in tasks}
    for name, legend in legends.items():
        if isinstance(legend, Sample):
            write_picture(pictures / f"{name}-key.png", legend.picture)
    for task, result in zip(tasks, results.tasks, strict=True):
        draw_curve(pictures / f"curve-{task.name}.png", task, result, results.histories)
    draw_energy(pictures / "energy.png", results.responses)
    results.export.plot(pictures / "sizes.png")
    sections = (
        _introduction(config, results),
        _predictions(config, legends, len(shown["image"])),
        _table(config, results),
        _unchanged(config, results),
        _curves(tasks),
        _parameters(results),
        _responses(results.responses),
        _export(results.export),
        _next_steps(out, tasks),
        _how(config, results),
    )
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>rc_keras: {len(tasks)} tasks, one frozen filter bank</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{''.join(sections)}</main>\n</body>\n</html>\n"
    )
    write_whole(out / "index.html", page.encode())


def _introduction(config: DemoConfig, results: DemoResults) -> str:
    first, added = " and ".join((", ".join(config.tasks[:-1]), config.tasks[-1])), config.added_task
    saved = 100 * (1 - results.parameters.total / results.single_parameters.total)
    facts = (
        (
            f"{results.mean_difference:+.1f} %",
            "multi-task against single-task networks, mean over the tasks; + is better",
        ),
        (f"−{saved:.0f} %" if saved >= 0 else f"+{-saved:.0f} %", "parameters, against a network for each task"),
        (f"{results.differing:,} of {results.compared:,}", f"predicted numbers changed when {added} was added"),
        (f"{results.export.file_bytes / 1e6:.2f} MB", f"one file with all {len(results.tasks)} tasks"),
    )
    cells = "".join(f"<div><b>{escape(value)}</b><span>{escape(text)}</span></div>" for value, text in facts)
    return f"""<h1>{len(results.tasks)} answers from one picture, on one frozen filter bank</h1>
<p class="lead">A small network was pretrained to name the objects in rendered rooms. Its kernels were frozen and became
a <em>filter bank</em>. {escape(first).capitalize()} were then trained on it, each with modulators, norms and a decoder
of its own; {escape(added)} was added later. All of it is in one LiteRT file, which made the predictions below.</p>
<div class="facts">{cells}</div>
"""


def _predictions(config: DemoConfig, legends: Mapping[str, Legend], count: int) -> str:
    rooms = []
    for i in range(count):
        cells = [
            f"<figure><figcaption>room {i + 1}</figcaption>"
            f'<img class="photo" src="pictures/{i}-image.png" alt="room {i + 1}" loading="lazy"></figure>',
            f'<p class="note soft">{config.size} × {config.size} pixels. Above the truth, below the prediction.</p>',
        ]
        for name in legends:
            for kind, text in (("truth", "truth"), ("answer", "prediction")):
                caption = f"{escape(name)}, {text}"
                cells.append(
                    f"<figure><figcaption>{caption}</figcaption>"
                    f'<img src="pictures/{i}-{name}-{kind}.png" alt="{caption}" loading="lazy"></figure>'
                )
        rooms.append(f'<div class="room">{"".join(cells)}</div>\n')
    keys = "".join(f"<div><h3>{escape(name)}</h3>{_key(name, legend)}</div>" for name, legend in legends.items())
    return f"""<h2>What the file answers</h2>
<p>Validation images: nothing was trained on them. LiteRT computed the predictions from <code>model.tflite</code>.</p>
<div class="keys">{keys}</div>
{"".join(rooms)}"""


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
        rows.append(
            f'<tr><td>{escape(task.name)}</td><td class="text">{task.measure.name} {task.measure.arrow}</td>'
            f"<td>{task.show(task.baseline)}<br><small>{escape(task.guess)}</small></td><td>{task.show(task.single)}</td>"
            f"<td>{task.show(task.multi)}</td>{_difference(task.difference)}</tr>"
        )
    single, multi = results.single_parameters.total, results.parameters.total
    return f"""<h2>Is sharing paid for in accuracy?</h2>
<p>Each task against a network of its own: the same pretrained start, decoder, images, order, steps and seed, but every
weight trained and nothing shared. {config.validation_images} validation images, one run; another seed moves these
numbers. The first column looks at no image. ↑ higher is better, ↓ lower is better; the difference is relative, and + is
better.</p>
<div class="wide"><table><thead><tr><th>task</th><th class="text">metric</th><th>no image</th><th>single-task</th>
<th>multi-task</th><th>difference</th></tr></thead><tbody>{"".join(rows)}
<tr class="sum"><td>mean</td><td></td><td></td><td></td><td></td>{_difference(results.mean_difference)}</tr>
<tr><td>parameters</td><td></td><td></td><td>{single:,}</td><td>{multi:,}</td>
<td>{100 * (multi - single) / single:+.1f} %</td></tr></tbody></table></div>
"""


def _difference(percent: float) -> str:
    return f'<td class="{"bad" if percent < 0 else "good"}">{percent:+.1f} %</td>'


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
<tr><td>separate networks</td>{empty}<td>{results.single_parameters.total:,}</td></tr></tbody></table></div>
"""


def _responses(responses: ResponseReport) -> str:
    head = "".join(f"<th>{100 * energy:g} %</th>" for energy in ENERGIES)
    rows = "".join(
        f"<tr><td>{escape(layer)}</td><td>{spectrum.size}</td>"
        f"{''.join(f'<td>{responses.rank(layer, energy)}</td>' for energy in ENERGIES)}</tr>"
        for layer, spectrum in responses.spectra.items()
    )
    return f"""<h2>What is in the bank</h2>
<p>Response initialization turned each layer of the bank into the principal directions of what the pretrained network
answers, strongest first, on the {responses.images} images of the pretraining. The table says how many of a layer's
responses hold a share of their energy (variance): the fewer, the more the filters say the same.</p>
<div class="chart"><img src="pictures/energy.png" alt="share of the response energy in the leading responses"></div>
<div class="wide"><table><thead><tr><th>layer</th><th>responses</th>{head}</tr></thead>
<tbody>{rows}</tbody></table></div>
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
<p>Pretraining: a ResNet of {sum(config.depths)} basic blocks learnt from {config.pretraining_images} rooms whether each
of eleven kinds of objects is in the picture, for {config.pretraining_epochs} epochs; it never saw their outlines. Area
under the ROC curve on the validation images, mean over the objects: {results.auc:.3f} (chance is 0.5).</p>
<p>Tasks: {config.task_images} other rooms, half of them mirrored, {config.epochs} epochs, batches of
{config.batch_size}, Adam. Everything is in <a href="config.json">config.json</a> and
<a href="results.json">results.json</a>. These are minutes of training on toy pictures: they show how the parts fit
together, not what the method reaches.</p>
<div class="wide" style="max-width: 24rem"><table><thead><tr><th>stage</th><th>time</th></tr></thead><tbody>{seconds}
<tr class="sum"><td>all</td><td>{total:.0f} s</td></tr></tbody></table></div>
"""
