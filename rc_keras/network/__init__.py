"""The shared bank, and the branch that a task has on it."""
