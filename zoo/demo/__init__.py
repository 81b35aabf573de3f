"""The walking demo: renders data, trains, adds a task, exports, runs the exported file, and leaves a page to read."""
