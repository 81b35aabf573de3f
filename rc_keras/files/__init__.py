"""Reading and writing: formats of weights, and files that appear whole or not at all."""
