"""The page in headless Chromium: it computes what Python computes and draws what `Task.draw` draws."""

import functools
import http.server
import json
import pathlib
import shutil
import subprocess
import threading

import keras
import numpy as np
import pytest
from support.browser import Browser, find_browser
from support.tiny import SIZE, TASKS, tiny_model
from support.trained import pretend_training

import rc_keras
import rc_keras.export
from rc_keras.export.images.generated import generate_images
from rc_keras.view import make_server, write_page
from rc_keras.view.runtimes import CDN, RUNTIMES, find_package

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exporters need Keras on TensorFlow"),
    pytest.mark.skipif(find_browser() is None, reason="needs Chromium"),
]

TOLERANCE = 1e-4  # largest difference from Python's runtime, of the range of its answer
GREY_LEVEL = 1  # largest difference of a picture from `Task.draw`
SAME_PIXELS = 0.999  # that are so near, too, where the last bit of a number may choose the next colour of a scale

NAMES = ("wall", "<b>floor</b>", "a table", "lamp", "other")
ALL_TASKS = (
    rc_keras.Task("semseg", 5, "segmentation", class_names=NAMES),
    *TASKS[1:],
    rc_keras.Task("scene", 4, "classification", class_names=("kitchen", "hall", "bath", "attic")),
)
EXPORTS = ("litert float32", "litert int8", "litert ids", "onnx float32", "onnx ids")


@pytest.fixture(scope="module")
def runtimes():
    """The folders of the runtimes, fetched if need be, `{name of the package: folder}`."""
    found = {p.name: find_package(p, pathlib.Path()) for packages in RUNTIMES.values() for p in packages}
    if None in found.values():
        pytest.skip("the browser's runtimes cannot be fetched from npm")
    return found


@pytest.fixture(scope="module")
def exports(runtimes, tmp_path_factory):
    """`{name: path}` of the exports of one model."""
    folder = tmp_path_factory.mktemp("exports")
    model = pretend_training(tiny_model(ALL_TASKS), 0)
    write = functools.partial(rc_keras.export.export, model, verbose=False)
    write(folder / "float32.tflite")
    images = np.concatenate(generate_images((SIZE, SIZE, 3)))
    write(folder / "int8.tflite", quantize="int8", representative_data=images, images=images)
    write(folder / "float32", format="onnx", joint=True)
    ids = {"tasks": ["semseg", "depth"], "segmentation": "class_ids"}
    write(folder / "ids.tflite", joint=True, **ids)
    write(folder / "ids", format="onnx", joint=True, batch_size=2, image_shape=(None, None, 3), **ids)
    paths = [folder / name for name in ("float32.tflite", "int8.tflite", "ids.tflite", "float32", "ids")]
    return dict(zip(EXPORTS, paths, strict=True))


@pytest.fixture(scope="module")
def photograph(tmp_path_factory):
    """`(path, image)` of a picture in the network's own size, so that nobody resizes it."""
    image = generate_images((SIZE, SIZE, 3))[0][0].round().astype("uint8")
    path = tmp_path_factory.mktemp("pictures") / "photograph.png"
    keras.utils.save_img(path, image, scale=False)
    return path, image


@pytest.fixture(scope="module")
def browser():
    with Browser() as opened:
        yield opened


@pytest.fixture
def visit(browser):
    """Function from an export to the tab with its page, once it has shown the first example."""
    servers = []

    def open_page(path, ready="viewer.ready", **settings):
        servers.append(make_server(path, download=False))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        tab = browser.open(servers[-1].url, **settings)
        tab.wait(f"globalThis.viewer && {ready}")
        return tab

    yield open_page
    for server in servers:
        server.shutdown()
        server.server_close()


def status(tab):
    return tab.run("document.getElementById('status').textContent")


def is_error(tab):
    return tab.run("document.getElementById('status').classList.contains('error')")


def show(tab, path):
    """Chooses a picture and waits until every task has answered."""
    tab.run("viewer.image = null, document.getElementById('status').textContent = ''")
    tab.choose_file("#file", path)
    tab.wait("document.getElementById('status').textContent.includes('a task')")


def answers(tab):
    """`{task: array}` of the numbers behind the pictures."""
    plain = "Object.entries(viewer.answers).map(([name, a]) => [name, [...a.values], a.dims])"
    return {name: np.array(values, "float32").reshape(dims)[0] for name, values, dims in tab.run(plain)}


def pictures(tab):
    """`{task: RGB array}` of the pictures on the page."""
    read = """[...document.querySelectorAll("#views canvas[role=img]")].map(canvas => [canvas.ariaLabel, canvas.height,
        [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data]])"""
    return {name: np.array(data, "int16").reshape(rows, -1, 4)[..., :3] for name, rows, data in tab.run(read)}


@pytest.mark.parametrize("name", EXPORTS)
def test_numbers_and_pictures_are_those_of_python(name, exports, visit, photograph):
    tab = visit(exports[name])
    assert not is_error(tab), status(tab)
    path, image = photograph
    show(tab, path)
    drawn, found = pictures(tab), answers(tab)
    shown = drawn.pop("picture").astype("float32")
    if name == "onnx ids":  # of any size
        assert shown.shape == (256, 256, 3)
    else:
        np.testing.assert_array_equal(shown, image)
    with rc_keras.export.runtime.load(exports[name]) as network:
        batch = 2 if name == "onnx ids" else 1
        expected = {task: answer[0] for task, answer in network.run(np.stack([shown] * batch)).items()}
    assert list(found) == [task.name for task in ALL_TASKS if task.name in expected]
    for task in ALL_TASKS:
        if task.name not in expected:
            continue
        mine, theirs = found[task.name], expected[task.name]
        assert mine.shape == theirs.shape and np.ptp(theirs) > 0
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=TOLERANCE * np.ptp(theirs))
        if task.definition.dense:
            draw = task.draw_label if theirs.ndim == 2 else functools.partial(task.draw, activated=True)
            assert np.abs(drawn[task.name] - draw(mine)).max() <= GREY_LEVEL, task.name
            assert (np.abs(drawn[task.name] - draw(theirs)) <= GREY_LEVEL).mean() >= SAME_PIXELS, task.name
    assert tab.errors() == []


def test_separate_calls_answer_as_one_call(exports, visit, photograph):
    tab = visit(exports["onnx float32"])
    show(tab, photograph[0])
    assert status(tab).startswith("All tasks in one call")
    together = answers(tab)
    tab.run("document.getElementById('together').click()")
    tab.wait("document.getElementById('status').textContent.startsWith('All tasks, one by one')")
    for name, answer in answers(tab).items():
        np.testing.assert_allclose(answer, together[name], rtol=0, atol=TOLERANCE * np.ptp(answer))
    times = tab.run("[...document.querySelectorAll('.name span')].map(span => span.textContent)")
    assert len([text for text in times if " ms" in text and "kB" in text]) == len(ALL_TASKS)
    fetched = [url.rpartition("/")[2] for url in tab.requested() if "/model/" in url]
    assert sorted(fetched) == sorted(set(fetched)) and "bank.bin" in fetched and "all.onnx" in fetched


def test_threads_are_used_where_the_server_allows_them(exports, visit, browser, runtimes):
    for name in ("litert float32", "onnx float32"):
        tab = visit(exports[name])
        assert tab.run("self.crossOriginIsolated")
        cores = tab.run("navigator.hardwareConcurrency")
        if cores > 1:
            assert f"{min(cores, 8)} threads" in tab.run("document.getElementById('engine').textContent")
    path = exports["onnx float32"]
    write_page(path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_PlainHandler, directory=path)) as plain:
        threading.Thread(target=plain.serve_forever, daemon=True).start()
        tab = browser.open(f"http://127.0.0.1:{plain.server_port}/viewer/")
        tab.wait("globalThis.viewer?.ready")
        assert not is_error(tab), status(tab)
        assert "one thread: the server of this page does not send the headers" in tab.run("document.body.innerText")
        assert tab.errors() == []
        plain.shutdown()


class _PlainHandler(http.server.SimpleHTTPRequestHandler):
    """That of `python -m http.server`, in silence."""

    def log_message(self, *arguments):
        pass


@pytest.mark.parametrize("name", ["litert float32", "onnx float32"])
def test_runtimes_from_a_cdn(name, exports, browser, runtimes, monkeypatch, tmp_path):
    """The addresses of the CDN are answered here, with the files that npm has."""
    monkeypatch.setattr("rc_keras.view.page.find_package", lambda *arguments: None)
    server = make_server(exports[name])
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        tab = browser.open("about:blank")
        tab.answer(f"{CDN}/*", functools.partial(_cdn_file, runtimes))
        tab.call("Page.navigate", url=server.url)
        tab.wait("globalThis.viewer?.ready")
        assert not is_error(tab), status(tab)
        assert "a task" in status(tab) and tab.errors() == []
        assert any(url.startswith(CDN) for url in tab.requested())
    finally:
        server.shutdown()
        server.server_close()


def _cdn_file(runtimes, url):
    for package in (p for packages in RUNTIMES.values() for p in packages):
        if url.startswith(package.cdn_url):
            return (runtimes[package.name] / url.removeprefix(package.cdn_url)).read_bytes()
    return None


def test_examples_and_keys(exports, visit):
    tab = visit(exports["litert float32"])
    assert tab.run("document.querySelectorAll('#examples [aria-pressed=true]').length") == 1
    first = answers(tab)["depth"]
    tab.run("document.querySelectorAll('#examples button')[1].click()")
    tab.wait(f"viewer.answers.depth.values[0] !== {float(first.flat[0])!r}")
    reached = []
    for _ in range(20):
        tab.press("Tab")
        reached.append(tab.run("document.activeElement.id || document.activeElement.getAttribute('aria-label')"))
    stops = ["file", "camera", "picture", "semseg", "edge", "normals", "depth"]
    assert [name for name in reached if name in stops][: len(stops)] == stops
    tab.run("document.querySelector('canvas[aria-label=semseg]').focus()")
    for _ in range(40):
        tab.press("ArrowLeft")
        tab.press("ArrowUp")
    values = tab.run("[...document.querySelectorAll('output')].map(output => output.textContent)")
    corner = {name: answer[0, 0] for name, answer in answers(tab).items() if answer.ndim == 3}
    assert values[0] == NAMES[corner["semseg"].argmax()]
    assert values[1] == f"{corner['edge'][0]:.2f}"
    assert values[3] == f"{corner['depth'][0]:.2f} m".replace("-", "−")


def test_names_are_text_and_no_markup(exports, visit):
    tab = visit(exports["litert float32"])
    seen = tab.run("document.querySelector('.legend ul').textContent")
    assert tab.run("document.querySelector('.legend b')") is None
    assert any(name in seen for name in NAMES)


def test_what_is_no_picture(exports, visit, tmp_path):
    tab = visit(exports["litert float32"])
    (tmp_path / "notes.txt").write_text("no picture")
    tab.choose_file("#file", tmp_path / "notes.txt")
    tab.wait("document.getElementById('status').classList.contains('error')")
    assert status(tab) == "notes.txt is no picture that this browser can read. JPEG, PNG and WebP are."
    tab.run("document.querySelector('#examples button').click()")
    tab.wait("document.getElementById('status').textContent.includes('a task')")
    assert not is_error(tab)


def test_camera(exports, visit):
    tab = visit(exports["litert float32"], camera="granted")
    tab.run("viewer.image = null, document.getElementById('camera').click()")
    tab.wait("document.getElementById('camera').ariaPressed === 'true' && viewer.image")
    tab.run("document.getElementById('camera').click()")
    assert tab.run("document.getElementById('camera').textContent") == "Use the camera"
    assert not is_error(tab)


def test_camera_refused(exports, visit):
    tab = visit(exports["litert float32"], camera="denied")
    tab.run("document.getElementById('camera').click()")
    tab.wait("document.getElementById('status').classList.contains('error')")
    assert "The camera was refused" in status(tab)


@pytest.mark.parametrize("script", ["delete globalThis.WebAssembly", "globalThis.WebAssembly = undefined"])
def test_no_webassembly(exports, visit, script):
    tab = visit(exports["litert float32"], script=script)
    assert "no WebAssembly" in status(tab)


def test_files_that_went_away(exports, browser, tmp_path):
    path = tmp_path / "m.tflite"
    shutil.copy(exports["litert float32"], path)
    description = tmp_path / "m.tflite.description.json"
    shutil.copy(f"{exports['litert float32']}.description.json", description)
    server = make_server(path, download=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        for file, message in ((path, "m.tflite cannot be fetched: 404"), (description, "is missing")):
            file.unlink()
            tab = browser.open(server.url)
            tab.wait("globalThis.viewer?.ready")
            assert is_error(tab) and message in status(tab)
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("width", [320, 360, 768, 1280, 1920])
def test_nothing_sticks_out(exports, visit, width):
    tab = visit(exports["litert float32"], width=width)
    assert tab.run("document.documentElement.scrollWidth") == width
    edges = tab.run("[...document.querySelectorAll('figure')].map(f => f.getBoundingClientRect().right)")
    assert len(edges) == len(ALL_TASKS) + 1 and max(edges) < width


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_node_computes_what_python_computes(exports, runtimes, photograph, tmp_path):
    folder, image = exports["onnx float32"], photograph[1]
    image.astype("float32").tofile(tmp_path / "image.bin")
    script = f"""
    import {{ readFileSync }} from "node:fs";
    import * as ort from {json.dumps((runtimes["onnxruntime-web"] / "dist/ort.wasm.min.mjs").as_uri())};
    ort.env.wasm.numThreads = 1;
    const read = name => new Uint8Array(readFileSync({json.dumps(f"{folder}/")} + name)), answers = {{}};
    const raw = readFileSync({json.dumps(str(tmp_path / "image.bin"))});
    const image = new Float32Array(raw.buffer, raw.byteOffset, raw.length / 4);
    for (const name of {json.dumps([task.name for task in ALL_TASKS])}) {{
      const externalData = ["bank.bin", name + ".bin"].map(path => ({{ path, data: read(path) }}));
      const session = await ort.InferenceSession.create(read(name + ".onnx"), {{ externalData }});
      const feeds = {{ image: new ort.Tensor("float32", image, [1, {SIZE}, {SIZE}, 3]) }};
      answers[name] = [...(await session.run(feeds))[name].data];
    }}
    console.log(JSON.stringify(answers));
    """
    (tmp_path / "main.mjs").write_text(script)
    done = subprocess.run(["node", tmp_path / "main.mjs"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    with rc_keras.export.runtime.load(folder) as network:
        for name, expected in network.run(image.astype("float32")).items():
            found = np.array(json.loads(done.stdout)[name], "float32").reshape(expected.shape)
            np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * np.ptp(expected))
