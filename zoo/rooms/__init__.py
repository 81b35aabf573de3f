"""How the preset `rooms` is made: rendered rooms, an encoder pretrained on them, six tasks on its bank."""
