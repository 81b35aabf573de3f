"""The export formats: a folder each, an entry each in `rc_keras.export.formats.registry`."""
