"""The walking demo; see `rc_keras.zoo.demo.run`.

Usage:
    python -m rc_keras.zoo.demo [--out demo] [--data_dir DIR] [--quick]

Some minutes on two CPU cores, most of them training. Leaves `index.html` in the output folder.
"""

from absl import app, flags

from rc_keras.base.command import run as run_command

_OUT = flags.DEFINE_string("out", "demo", "Folder of the page, the models and the pictures.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where the rendered rooms are kept; TFDS's own folder by default.")
_QUICK = flags.DEFINE_bool("quick", False, "A few tiny images and steps: shows that everything runs, learns nothing.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Arguments must be flags. Received: {argv[1:]}")
    from rc_keras.zoo.demo.requirements import check_requirements

    check_requirements()
    from rc_keras.zoo.datasets.preparation import hide_bars_in_files
    from rc_keras.zoo.demo.config import DemoConfig
    from rc_keras.zoo.demo.run import run

    hide_bars_in_files()
    run(DemoConfig.quick() if _QUICK.value else DemoConfig(), _OUT.value, _DATA_DIR.value)


if __name__ == "__main__":
    run_command(main, {"Flags": (_OUT, _DATA_DIR, _QUICK)})
