"""Images that an export is calibrated on and compared on: of a user's folder or data, or generated."""
