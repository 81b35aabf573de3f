"""Makes the preset `rooms`; started again, goes on where it was stopped.

Usage:
    python -m rc_keras.zoo.rooms --out OUT [--only TASK] [--quick]

Renders 50,500 rooms (12 GB in `OUT/rooms`), pretrains an encoder and decoder, makes a bank of them and trains six tasks
on it, on the backend that Keras has: minutes on a GPU, many hours on a CPU. Leaves the preset in `OUT/preset`, and what
it measures on rooms that nothing was trained on in `OUT/results.json`.
"""

from absl import app, flags

from rc_keras.base.command import run

_OUT = flags.DEFINE_string("out", None, "Folder of the runs and the preset.")
_ONLY = flags.DEFINE_string(
    "only", None, "Trains this task and stops, as several processes can at the same time; empty: makes the bank."
)
_QUICK = flags.DEFINE_bool("quick", False, "A few tiny images and steps: shows that everything runs, learns nothing.")


def main(argv: list[str]) -> None:
    if len(argv) > 1 or _OUT.value is None:
        raise app.UsageError(f"`--out` must be given, and nothing but flags. Received: {argv[1:]}")
    from rc_keras.zoo.rooms.run import Rooms, make_rooms

    results = make_rooms(Rooms.quick() if _QUICK.value else Rooms(), _OUT.value, _ONLY.value)
    for name, value in (results or {}).items():
        print(f"{name:<32} {value:.4g}")


if __name__ == "__main__":
    run(main, {"Flags": (_OUT, _ONLY, _QUICK)})
