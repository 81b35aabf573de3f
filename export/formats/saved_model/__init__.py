"""SavedModel, TensorFlow's own format: a folder."""
