"""The training run behind `rc_keras.zoo.train`."""
