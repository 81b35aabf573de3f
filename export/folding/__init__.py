"""From a trained branch to the plain network it amounts to, and to TensorFlow's graph of that."""
