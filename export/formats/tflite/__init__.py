"""LiteRT: one `.tflite` file."""
