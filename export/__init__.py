"""Exporters: SavedModel, LiteRT and ONNX files that compute what the model computes."""
