"""The page of an export: the files that a browser reads, served from where they are or written beside the export."""

import base64
import hashlib
import html
import json
import os
import pathlib
import shutil
import string
from typing import TypeAlias
from urllib.parse import quote

from rc_keras.files.whole_folder import folder_lock, new_folder, switch
from rc_keras.view.exported import Exported, find_export
from rc_keras.view.runtimes import CDN, RUNTIMES, find_package

SOURCES = pathlib.Path(__file__).parent / "static"
INDEX = "index.html"
FOLDER = "viewer"  # beside an export

Page: TypeAlias = dict[str, pathlib.Path | bytes]


def make_page(exported: Exported, base: str, download: bool = True) -> Page:
    """The page of an export.

    Args:
        exported: the `Exported`.
        base: where the page finds the export's files, a relative address that ends with a slash.
        download: whether runtimes that are not on this computer are fetched; otherwise, and where that fails, the page
            takes them from a CDN.

    Returns:
        `{relative address: file or its bytes}`, the runtime's files included.
    """
    page: Page = {
        path.relative_to(SOURCES).as_posix(): path
        for path in sorted(SOURCES.rglob("*"))
        if path.is_file() and path.name != INDEX
    }
    imports = {}
    for package in RUNTIMES[exported.runtime]:
        folder = find_package(package, exported.folder, download)
        if folder is None:
            print(f"{package.name} will come from {package.cdn_url} whenever the page is opened.")
            imports[package.name] = package.cdn_url + package.module
        else:
            address = f"runtimes/{package.name}/"
            imports[package.name] = f"./{address}{package.module}"
            page |= {address + name: folder / name for name in package.files}
    import_map = json.dumps({"imports": imports})
    examples = "".join(
        f'<button type="button" aria-pressed="false" title="Example {path.stem}">'
        f'<img src="examples/{path.name}" alt="Example {path.stem}" width="52" height="52"></button>'
        for path in sorted((SOURCES / "examples").glob("*.jpg"))
    )
    texts = {
        "title": exported.title,
        "policy": _policy(import_map, from_cdn=any(url.startswith(CDN) for url in imports.values())),
        "model": base + quote(exported.model),
        "description": base + quote(exported.description),
        "runtime": exported.runtime,
    }
    template = string.Template((SOURCES / INDEX).read_text(encoding="utf-8"))
    escaped = {name: html.escape(text) for name, text in texts.items()}
    page[INDEX] = template.substitute(escaped, imports=import_map, examples=examples).encode()
    return page


def write_page(path: str | os.PathLike, download: bool = True) -> pathlib.Path:
    """Writes the page beside an export, for any web server.

    Of a folder it becomes the folder `viewer` in it, of a file `<file>.viewer`; what has that name and is a page, or is
    empty, is replaced. Browsers read it over http alone, not as a file: serve the folder around both, as
    `python -m http.server` does. More than one thread needs the headers `Cross-Origin-Opener-Policy: same-origin` and
    `Cross-Origin-Embedder-Policy: require-corp`.

    Args:
        path: the exported file or folder.
        download: see `make_page`.

    Returns:
        Path of the page, `index.html`.

    Raises:
        FileExistsError: if something else has the name.
        FileNotFoundError, ValueError: see `find_export`.
        OSError: if it cannot be written.
    """
    exported = find_export(path)
    target = exported.folder / (f"{exported.model}.{FOLDER}" if exported.model else FOLDER)
    if target.exists() and not (target / "viewer.js").is_file() and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(f"{str(target)!r} must be free for the page, or hold one.")
    page = make_page(exported, "../", download)
    with folder_lock(str(target)), new_folder(str(target)) as temporary:
        for name, content in page.items():
            file = pathlib.Path(temporary, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                file.write_bytes(content)
            else:
                shutil.copyfile(content, file)
        switch(temporary, str(target))
    return target / INDEX


def _policy(import_map: str, from_cdn: bool) -> str:
    """What the page may load: its own files, the runtime, and pictures; it can send nothing elsewhere."""
    digest = base64.b64encode(hashlib.sha256(import_map.encode()).digest()).decode()
    cdn = f" {CDN}" if from_cdn else ""
    return (
        f"default-src 'none'; script-src 'self' 'wasm-unsafe-eval' blob: 'sha256-{digest}'{cdn}; "
        f"worker-src 'self' blob:; connect-src 'self' blob:{cdn}; style-src 'self'; img-src 'self' blob: data:; "
        "media-src 'self' blob:; base-uri 'none'; form-action 'none'"
    )
