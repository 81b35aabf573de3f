"""Measuring a trained model, behind `rc_keras.zoo.evaluate`."""
