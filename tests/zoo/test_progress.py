"""How long things take is told: on terminals with a bar, in files by a line now and then."""

import io
import time

import keras
import numpy as np
import pytest

from rc_keras.zoo.compare import watch
from rc_keras.zoo.compare.watch import CellLine, last_stand, watched
from rc_keras.zoo.progress import BatchProgress, Line, Progress, Stand, StepProgress, show_seconds


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def screen(self):
        """What is seen in the end."""
        return [line.rpartition("\r")[2].replace("\x1b[K", "") for line in self.getvalue().split("\n")]


@pytest.fixture
def clock(monkeypatch):
    """Time that passes when a test says so."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_what_is_told_can_be_read():
    for stand in (Stand("step", 250, 20000, 720.0), Stand("edge, boundaries: batch", 3, 20), Stand("step", 1, 2, 7200)):
        assert Stand.parse(f"  {stand}\n") == stand
    assert str(Stand("step", 250, 20000, 720.0)) == "step 250 of 20,000; about 12 min left"
    assert [show_seconds(s) for s in (0, 89, 91, 5399, 5401)] == ["0 s", "89 s", "2 min", "90 min", "1.5 h"]
    for other in ("Epoch 1/8", "1/4 ━━ 2s 996ms/step", "step 3 of 4; maybe", "Step 4 of 8 ends", "of 3 of 4 of 5 left"):
        assert Stand.parse(other) is None


def test_a_bar_is_rewritten_on_a_terminal(clock):
    stream = Terminal()
    progress = Progress("step", 8, stream=stream)
    for step in range(1, 9):
        clock[0] += 60
        progress.update(step)
        if step == 4:
            assert stream.screen() == ["━━━━━━━━━━────────── step 4 of 8; about 4 min left"]
    assert stream.screen() == ["━━━━━━━━━━━━━━━━━━━━ step 8 of 8", ""]


def test_a_file_gets_a_line_now_and_then(clock):
    stream = io.StringIO()
    progress = Progress("step", 1000, done=500, stream=stream)
    for step in range(501, 1001):
        clock[0] += 0.125
        progress.update(step)
    assert stream.getvalue().splitlines() == [
        "step 580 of 1,000; about 52 s left",
        "step 660 of 1,000; about 42 s left",
        "step 740 of 1,000; about 32 s left",
        "step 820 of 1,000; about 22 s left",
        "step 900 of 1,000; about 12 s left",
        "step 980 of 1,000; about 2 s left",
        "step 1,000 of 1,000",
    ]
    assert "\r" not in stream.getvalue()
    Progress("step", 2, shown=False).update(2)


def test_lines_are_no_longer_than_a_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    stream = Terminal()
    line = Line(stream)
    line.tell("a" * 50)
    assert stream.screen() == ["a" * 19]
    line.clear()
    assert stream.screen() == [""]


def test_fit_and_evaluate_count(capsys):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.zeros((8, 2)), np.zeros((8, 1))
    steps = StepProgress(steps=12, steps_per_epoch=4, start=4)
    model.fit(x, y, batch_size=2, epochs=3, initial_epoch=1, callbacks=[steps], verbose=0)
    model.evaluate(x, y, batch_size=2, callbacks=[BatchProgress(Progress("batch", 4))], verbose=0)
    assert capsys.readouterr().out == "step 12 of 12\nbatch 4 of 4\n"


# Cells


def test_a_log_says_where_its_process_is(tmp_path):
    log = tmp_path / "seed0.log"
    assert last_stand(log) is None
    log.write_text("$ train\nstep 100 of 100\n")
    start = log.stat().st_size
    assert last_stand(log) == Stand("step", 100, 100) and last_stand(log, start) is None
    with log.open("a") as file:
        file.write("x" * 10000 + "\nEpoch 1/8\nstep 5 of 100; about 3 min left\n1/4 ━━ 2s\n")
    assert last_stand(log, start) == Stand("step", 5, 100, 180)


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()], ids=["terminal", "file"])
def test_a_cell_is_told_while_it_runs(tmp_path, monkeypatch, stream):
    monkeypatch.setattr(watch, "_SECONDS_BETWEEN_LOOKS", 0.01)
    line = CellLine("[2/4] rcm, seed 0 … ", stream, every=0.0)
    with watched(line, tmp_path / "a.log", cells_after=2, earlier=[3600.0, 1800.0]):
        (tmp_path / "a.log").write_text("step 5 of 100; about 30 min left\n")
        deadline = time.monotonic() + 10
        while "step 5" not in stream.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    line.end("31.0 min")
    told = "[2/4] rcm, seed 0 … step 5 of 100; about 30 min left, 2.0 h for all"
    assert told in stream.getvalue()
    if stream.isatty():
        assert stream.screen() == ["[2/4] rcm, seed 0 … 31.0 min", ""]
    else:
        first, *others, last, end = stream.getvalue().split("\n")
        assert first == "[2/4] rcm, seed 0 … " and set(others) == {told}
        assert (last, end) == ("[2/4] rcm, seed 0 … 31.0 min", "")


def test_a_short_cell_is_one_line():
    stream = io.StringIO()
    line = CellLine("[1/1] rcm … ", stream)
    line.tell("step 1 of 2")
    line.end("0.1 min")
    assert stream.getvalue() == "[1/1] rcm … 0.1 min\n"
