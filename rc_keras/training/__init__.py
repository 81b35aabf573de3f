"""`compile`, `fit` and `evaluate` for tasks that do not disturb each other.

On the network stand, each on the one before, `MeasuredNetwork` (losses, loss weights, metrics), `TaskStep` (one step),
`CompiledSteps` (the step as Keras compiles it) and `TaskTrainer` (`compile`, `fit`, `evaluate`, `predict`).
"""
