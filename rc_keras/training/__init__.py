"""`compile`, `fit` and `evaluate` for tasks that do not disturb each other."""
