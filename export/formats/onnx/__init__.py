"""ONNX: a folder with a graph for each task, and the weights beside them."""
