"""Presets and task packs: a model in parts, the bank apart from its tasks."""
