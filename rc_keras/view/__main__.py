"""Shows an export in the browser: predictions of every task for your photographs, the camera, or examples.

Usage:
    python -m rc_keras.view model.tflite
    python -m rc_keras.view FOLDER_OF_ONNX_FILES

Serves the page at an address of this computer alone, until Ctrl-C. The runtime that computes in the browser, LiteRT.js
or onnxruntime-web, is fetched once, from npm, and kept in `~/.keras/rc_keras/runtimes`.
"""

import errno
import sys
import webbrowser

from absl import app, flags

from rc_keras.base.command import run

_PORT = flags.DEFINE_integer("port", 8137, "Port of the page; 0 for any free one.", lower_bound=0, upper_bound=65535)
_OPEN = flags.DEFINE_bool("open", True, "Whether to open the page in a browser.")
_DOWNLOAD = flags.DEFINE_bool(
    "download", True, "Whether to fetch the runtime if it is not here; otherwise the browser takes it from a CDN."
)


def main(argv: list[str]) -> int:
    if len(argv) != 2:
        raise app.UsageError(f"One exported file or folder must be given. Received: {argv[1:]}")
    from rc_keras.view.server import make_server

    try:
        server = make_server(argv[1], _PORT.value, _DOWNLOAD.value)
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            print(f"Port {_PORT.value} is in use: give another one, or --port=0 for any that is free.", file=sys.stderr)
        else:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    with server:
        print(f"{argv[1]} is at {server.url} until Ctrl-C.", flush=True)
        if _OPEN.value:
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


if __name__ == "__main__":
    run(main, {"The page": (_PORT, _OPEN), "What computes in it": (_DOWNLOAD,)})
