"""Published presets: those that come with the package, those it downloads, and those on the Hugging Face Hub."""
