"""The shared bank, the branch that a task has on it, and the network of several tasks."""
