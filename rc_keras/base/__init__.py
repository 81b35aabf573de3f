"""What everything else builds on: operations of the backends, types, names and seeds.

TensorFlow is imported only while Keras runs on it.
"""
