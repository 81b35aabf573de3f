"""What a task is: its kind, its labels, and how it is drawn."""
