"""Runs a recipe and, if a step is given, kills itself with SIGKILL in the middle of it.

Usage: python killed_run.py RECIPE_JSON WORKDIR DATA_DIR [STEP]
"""

import os
import signal
import sys

from rc_keras.zoo.datasets.data import open_data
from rc_keras.zoo.recipes import Recipe
from rc_keras.zoo.strategy import make_strategy
from rc_keras.zoo.training import run
from rc_keras.zoo.training.determinism import make_deterministic
from rc_keras.zoo.training.history import History


class KilledHistory(History):
    """Kills the process after a step."""

    def on_train_batch_end(self, batch, logs=None):
        self.taken = getattr(self, "taken", 0) + 1
        if self.taken == int(sys.argv[4]):
            os.kill(os.getpid(), signal.SIGKILL)


def main():
    make_deterministic()
    recipe = Recipe.load(sys.argv[1])
    data = open_data(recipe.dataset, data_dir=sys.argv[3])
    data.prepare()
    if len(sys.argv) > 4:
        run.History = KilledHistory
    run.train(recipe, data, sys.argv[2], make_strategy("none"), verbose=0)


if __name__ == "__main__":
    main()
