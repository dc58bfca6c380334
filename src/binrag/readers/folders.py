"""Files of text to documents: found in folders, decoded, split."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from binrag.errors import InvalidInput
from binrag.readers.splitting import CHUNK, KINDS, check_chunk, split
from binrag.types import Document

SUFFIXES = {
    ".txt": "text",
    ".md": "markdown",
    ".markdown": "markdown",
    ".rst": "rst",
    ".py": "python",
    ".html": "html",
    ".htm": "html",
}
"""The files that are read, and the kind of text in them."""

_SKIPPED = frozenset({"__pycache__", "node_modules"})

OnError = Callable[[InvalidInput], object]


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file to read.

    Attributes
    ----------
    path : Path
        Where it is.
    source : str
        What its documents call it: the path as it was given, or relative to a root; with slashes.
    """

    path: Path
    source: str


def read_folder(
    path: str | os.PathLike[str],
    *,
    chunk: int = CHUNK,
    root: str | os.PathLike[str] | None = None,
    on_error: OnError | None = None,
) -> Iterator[Document]:
    """Read the texts of a folder, and of all folders in it, as documents for `Store.add`, a chunk each.

    Files that end with .txt, .md, .markdown, .rst, .py, .html or .htm are read, in the order of their paths. Hidden
    files and folders, ``__pycache__``, ``node_modules`` and virtual environments are passed over.

    Parameters
    ----------
    path : path
        The folder, or a single file.
    chunk : int
        Characters of a document's text, at most; see `split`.
    root : path, optional
        A folder that the file is in: its documents are named by the path from there. By default by `path` as it is
        given.
    on_error : callable, optional
        Called with the error where a file or a folder cannot be read; then the others are. By default it is raised.

    Yields
    ------
    Document
        Its id is the file's path, ``#`` and the number of the chunk, from 0: ``docs/filters.md#3``. Its metadata are
        `source` (the path), `position` (the number), `heading` (list of str, the outermost first), `start_line`,
        `end_line` (from 1) and `kind`.

    Raises
    ------
    InvalidInput
        If there is no such folder, nothing in it that is read, or a file in it is not UTF-8.
    """
    check_chunk(chunk)
    return _read(find_files([path], root, on_error), chunk, on_error)


def _read(files: list[TextFile], chunk: int, on_error: OnError | None) -> Iterator[Document]:
    for file in files:
        try:
            documents = read_file(file, chunk)
        except InvalidInput as error:
            _report(error, on_error)
        else:
            yield from documents


def is_text(path: str) -> bool:
    """Return whether an input is a folder, or a file that is read as text."""
    return Path(path).suffix.lower() in SUFFIXES or Path(path).is_dir()


def find_files(
    paths: Iterable[str | os.PathLike[str]],
    root: str | os.PathLike[str] | None = None,
    on_error: OnError | None = None,
) -> list[TextFile]:
    """Find the files to read, in the order of their sources; one that is found twice is there once.

    Raises
    ------
    InvalidInput
        If an input is not there, or holds nothing to read.
    """
    found: dict[str, TextFile] = {}
    for path in map(Path, paths):
        files = [path] if path.is_file() else list(_walk(path, on_error))
        if not files:
            raise InvalidInput(f"{path} holds no files to read; expected some that end with {', '.join(SUFFIXES)}")
        for file in files:
            source = source_of(file, root)
            found.setdefault(source, TextFile(file, source))
    return [found[source] for source in sorted(found)]


def source_of(path: str | os.PathLike[str], root: str | os.PathLike[str] | None = None) -> str:
    """Return what documents call a file.

    Raises
    ------
    InvalidInput
        If it is not in the root.
    """
    if root is None:
        return Path(os.path.normpath(path)).as_posix()
    relative = os.path.relpath(path, root)
    if Path(relative).parts[:1] == (os.pardir,):
        raise InvalidInput(f"{os.fspath(path)} is not in the root {os.fspath(root)}; name a folder that it is in")
    return Path(relative).as_posix()


def _walk(folder: Path, on_error: OnError | None) -> Iterator[Path]:
    """Yield the files below a folder that are read; a folder that is reached twice, by a link, is read once."""
    if not folder.is_dir():
        raise InvalidInput(f"no file or folder at {folder}; expected one of texts: {', '.join(SUFFIXES)}")
    seen: set[tuple[int, int]] = set()

    def report(error: OSError) -> None:
        _report(InvalidInput(f"cannot read {error.filename}: {error.strerror}"), on_error)

    for place, folders, names in os.walk(folder, onerror=report, followlinks=True):
        status = Path(place).stat()
        if (status.st_dev, status.st_ino) in seen or (place != str(folder) and "pyvenv.cfg" in names):
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _SKIPPED)
        for name in names:
            path = Path(place, name)
            if not name.startswith(".") and path.suffix.lower() in SUFFIXES and path.is_file():
                yield path


def read_file(file: TextFile, chunk: int = CHUNK) -> list[Document]:
    """Return a file's documents; none of one that holds nothing but white space.

    Raises
    ------
    InvalidInput
        If it cannot be read, or is not UTF-8.
    """
    kind = SUFFIXES.get(file.path.suffix.lower(), "text")
    try:
        text = file.path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InvalidInput(f"cannot read {file.path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{file.path} is not UTF-8: {error.reason} at byte {error.start}; convert it") from None
    if "\0" in text:
        raise InvalidInput(f"{file.path} is no text: it has a zero byte")
    return [
        Document(
            f"{file.source}#{n}",
            piece.text,
            {
                "source": file.source,
                "position": n,
                "heading": list(piece.heading),
                "start_line": piece.start_line,
                "end_line": piece.end_line,
                "kind": kind,
            },
        )
        for n, piece in enumerate(split(text, kind, chunk))
    ]


def is_of_a_file(document: Document) -> bool:
    """Return whether a document is one that `read_file` makes."""
    kind, source, position = (document.metadata.get(key) for key in ("kind", "source", "position"))
    return isinstance(source, str) and kind in tuple(KINDS) and document.id == f"{source}#{position}"


def _report(error: InvalidInput, on_error: OnError | None) -> None:
    if on_error is None:
        raise error
    on_error(error)
