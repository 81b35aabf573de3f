"""Tasks trained in processes of their own and joined are the tasks of one joint run."""

import subprocess
import sys

import keras
import pytest
from support.folders import SUPPORT, environment
from support.tiny import TASKS, arrays, assert_same_bits, micro_backbone, state, tiny_data, tiny_model

from rc_keras import FilterBank

NAMES = [task.name for task in TASKS[:3]]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="bit for bit holds on TensorFlow's CPU kernels")
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["whole", "truncated", "decoder"])
def test_three_processes_and_one(kind, tmp_path):
    bank = tmp_path / "bank.safetensors"
    if kind == "decoder":
        FilterBank.from_task(tiny_model(TASKS[:1]), "semseg").save(bank)
    else:
        FilterBank(micro_backbone(), response_energy=0.5 if kind == "truncated" else None).save(bank)
    worker = SUPPORT / "separate_worker.py"
    for run in (NAMES, *([name] for name in NAMES)):
        out = tmp_path / ("joint" if len(run) > 1 else "apart")
        out.mkdir(exist_ok=True)
        subprocess.run([sys.executable, str(worker), str(bank), str(out), *run], check=True, env=environment())
    joint, joined = (tiny_model(TASKS[3:], bank=bank) for _ in range(2))
    for name in NAMES:
        joint.load_task(tmp_path / "joint" / f"{name}.rctask")
        joined.load_task(tmp_path / "apart" / f"{name}.rctask")
    untrained = tiny_model(TASKS[:3], bank=bank)
    images = tiny_data(4)[0]
    for name in NAMES:
        assert_same_bits(state(joined.branch(name)), state(joint.branch(name)))
        head = f"{name}__decoder_head"
        before, after = (m.branch(name).get_layer(head).kernel for m in (untrained, joined))
        assert (keras.ops.convert_to_numpy(before) != keras.ops.convert_to_numpy(after)).any()
    assert_same_bits(arrays(joined.predict(images, verbose=0)), arrays(joint.predict(images, verbose=0)))
