"""Exports in a browser: the page, what it needs, and its server on the loopback."""

from rc_keras.view.page import write_page
from rc_keras.view.server import make_server

__all__ = ["make_server", "write_page"]
