"""An export from beginning to end: check, fold, write, compare, report; see `rc_keras.export.stages.run`."""
