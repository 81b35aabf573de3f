"""Makes the preset `rooms`; started again, goes on where it was stopped.

Usage:
    python -m rc_keras.zoo.rooms --out OUT [--data_dir DIR] [--quick]

Renders 20,500 rooms, pretrains an encoder and decoder, makes a bank of them and trains six tasks on it: many hours on
one CPU core. Leaves the preset in `OUT/preset`, and what was measured in `OUT/tasks`.
"""

from absl import app, flags

from rc_keras.base.command import run

_OUT = flags.DEFINE_string("out", None, "Folder of the runs and the preset.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where the rendered rooms are kept; TFDS's own folder by default.")
_QUICK = flags.DEFINE_bool("quick", False, "A few tiny images and steps: shows that everything runs, learns nothing.")


def main(argv: list[str]) -> None:
    if len(argv) > 1 or _OUT.value is None:
        raise app.UsageError(f"`--out` must be given, and nothing but flags. Received: {argv[1:]}")
    from rc_keras.zoo.datasets.preparation import hide_bars_in_files
    from rc_keras.zoo.rooms.run import Rooms, make_rooms
    from rc_keras.zoo.training.determinism import make_deterministic

    hide_bars_in_files()
    make_deterministic()
    make_rooms(Rooms.quick() if _QUICK.value else Rooms(), _OUT.value, _DATA_DIR.value)


if __name__ == "__main__":
    run(main, {"Flags": (_OUT, _DATA_DIR, _QUICK)})
