"""The docstrings of the installed Python standard library, as documents for the demo.

Python modules are parsed from their source, never imported; C modules have no source, so they are imported
and inspected. A definition is named as its users reach it: ``json.JSONDecoder``, not
``json.decoder.JSONDecoder``; ``datetime.datetime``, not ``_datetime.datetime``; ``str.split``, not
``builtins.str.split``.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import logging
import os
import re
import sys
import sysconfig
import warnings
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib.machinery import ExtensionFileLoader
from pathlib import Path
from typing import Any

from binrag.types import Document

MAX_SUMMARY = 500
"""Characters kept of a docstring's first paragraph, so that a small encoder reads it all (256 tokens)."""

_logger = logging.getLogger(__name__)

_PUBLIC_MODULE = {os.path.__name__: "os.path", "_collections_abc": "collections.abc"}
"""Modules that users reach by another name, where no import statement says so."""

_IMPLEMENTATIONS = ("posix", "nt", "genericpath")
"""Modules that users reach only through others, though their names look public."""

_NOT_READ = {
    "antigravity",
    "idlelib",
    "imp",
    "lib2to3",
    "ntpath",
    "posixpath",
    "pydoc_data",
    "this",
    "turtledemo",
}.difference({os.path.__name__})
"""Easter eggs, applications, bare data, old names of ``importlib``, the path module of other systems."""

_NOT_IMPORTED = ("_test", "_xx", "xx", "_asyncio", "readline")
"""Starts of names of C modules: those that test CPython itself, one that imports a whole Python package which
says the same, and one that may write to the terminal."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A class, function or method that has a docstring.

    Attributes
    ----------
    name : str
        Dotted name inside its module.
    kind : str
        ``"class"``, ``"function"`` or ``"method"``.
    signature : str
        Parameters in parentheses; empty if not known.
    docstring : str
        The docstring without indentation.
    """

    name: str
    kind: str
    signature: str
    docstring: str


@dataclass(frozen=True, slots=True)
class Module:
    """What a module defines and what it imports from others.

    Attributes
    ----------
    name : str
        Dotted name.
    docstring : str
        The docstring without indentation; empty if there is none.
    definitions : list of Definition
        Public classes, functions and methods that have a docstring.
    imports : list of (str, str, str)
        ``(source module, name there, name here)`` of every ``from ... import``; both names may be ``"*"``.
    exports : frozenset of str, optional
        ``__all__``; ``None`` if there is none, or if only running the module would tell.
    """

    name: str
    docstring: str
    definitions: list[Definition]
    imports: list[tuple[str, str, str]] = field(default_factory=list)
    exports: frozenset[str] | None = None


def read_standard_library(progress: Callable[[int, int | None], None] | None = None) -> list[Document]:
    """Read the docstrings of the standard library of the running Python.

    Private names and dunder methods are left out. A module that cannot be read is skipped and logged.

    Parameters
    ----------
    progress : callable, optional
        Called with ``(modules read, modules in all)`` after every module.

    Returns
    -------
    list of Document
        See `documents_of`.
    """
    names = sorted(sys.stdlib_module_names - _NOT_READ)
    sources = {name: path for path, name in find_sources(Path(sysconfig.get_path("stdlib")), names)}
    readers = [partial(read_source, path, name) for name, path in sources.items()]
    readers += [partial(read_c_module, name) for name in names if name not in sources and _is_c_module(name)]
    modules: list[Module] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated modules warn when imported, odd escapes when parsed
        for done, read in enumerate(readers, 1):
            try:
                modules.append(read())
            except Exception as error:  # one odd module must not cost all the others
                _logger.info("skipped %s: %r", read.args[-1], error)
            if progress is not None:
                progress(done, len(readers))
    return documents_of(modules)


def find_sources(folder: Path, names: Collection[str]) -> Iterator[tuple[Path, str]]:
    """Yield path and dotted name of the Python modules below a folder, test packages left out.

    Parameters
    ----------
    folder : Path
        A folder of modules and packages.
    names : collection of str
        The modules and packages wanted, without dots.
    """
    for name in sorted(names):
        for path in [folder / f"{name}.py", *sorted((folder / name).rglob("*.py"))]:
            parts = path.relative_to(folder).with_suffix("").parts
            if path.is_file() and not {"test", "tests"}.intersection(parts):
                yield path, ".".join(parts).removesuffix(".__init__")


def read_source(path: Path, name: str) -> Module:
    """Read a Python module from its source, without importing it.

    Parameters
    ----------
    path : Path
        The source file.
    name : str
        The module's dotted name.

    Raises
    ------
    SyntaxError
        The file is not Python.
    OSError
        The file cannot be read.
    """
    tree = ast.parse(path.read_bytes())
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    imports = [
        (importlib.util.resolve_name("." * node.level + (node.module or ""), package), alias.name, here)
        for node in _statements(tree.body)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        for here in [alias.asname or alias.name]
    ]
    definitions = list(_source_definitions(tree.body, ""))
    return Module(name, ast.get_docstring(tree) or "", definitions, imports, _exports(tree))


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements, those of all branches of ``if`` and ``try`` included."""
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try):
            yield from _statements(node.body)
            for handler in getattr(node, "handlers", []):
                yield from _statements(handler.body)
            yield from _statements(node.orelse)


def _exports(tree: ast.Module) -> frozenset[str] | None:
    """Return ``__all__`` if a single literal says it all."""
    uses = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "__all__"]
    for node in tree.body:
        if len(uses) == 1 and isinstance(node, ast.Assign) and node.targets == uses:
            try:
                return frozenset(ast.literal_eval(node.value))
            except (ValueError, TypeError):
                return None
    return None


def _source_definitions(body: Iterable[ast.stmt], owner: str) -> Iterator[Definition]:
    """Yield the documented public definitions of a module's body, or of the body of the class `owner`."""
    for node in _statements(body):
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name[0] == "_":
            continue
        name = f"{owner}.{node.name}" if owner else node.name
        docstring = ast.get_docstring(node)
        if isinstance(node, ast.ClassDef):
            init = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
            signature = _source_signature(init, bound=True) if init else ""
            docstring = docstring or (ast.get_docstring(init) if init else None)
            yield from _source_definitions(node.body, name)
            kind = "class"
        else:
            decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
            bound = bool(owner) and "staticmethod" not in decorators
            signature = "" if "property" in decorators else _source_signature(node, bound=bound)
            kind = "method" if owner else "function"
        if docstring:
            yield _definition(name, kind, signature, docstring)


def _source_signature(node: ast.FunctionDef | ast.AsyncFunctionDef, *, bound: bool) -> str:
    """Return the parameters in parentheses; of a bound function without ``self`` or ``cls``."""
    arguments = node.args
    if bound:
        del (arguments.posonlyargs or arguments.args)[:1]
    return f"({ast.unparse(arguments)})"


def _is_c_module(name: str) -> bool:
    """Whether importing this name loads a C module: nothing else on the path may shadow it."""
    if name.startswith(_NOT_IMPORTED):
        return False
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    return spec is not None and (spec.origin == "built-in" or isinstance(spec.loader, ExtensionFileLoader))


def read_c_module(name: str) -> Module:
    """Import a C module and read what it defines.

    Parameters
    ----------
    name : str
        The module's name.

    Raises
    ------
    ImportError
        The module cannot be imported here.
    """
    module = importlib.import_module(name)
    definitions: list[Definition] = []
    for key, value in sorted(vars(module).items()):
        if key.startswith("_"):
            continue
        original = vars(module).get(f"__{key}__", value)  # applications replace sys.excepthook and such
        if inspect.isbuiltin(original):
            definitions += _c_definition(key, "function", original)
        elif isinstance(value, type) and (key == value.__name__ or not hasattr(module, value.__name__)):
            definitions += _c_definition(key, "class", value)  # other names of a class are aliases
            for attribute in sorted(vars(value)):
                method = getattr(value, attribute, None)
                if not attribute.startswith("_") and inspect.isroutine(method):
                    definitions += _c_definition(f"{key}.{attribute}", "method", method)
    return Module(name, inspect.cleandoc(module.__doc__ or ""), definitions)


def _c_definition(name: str, kind: str, value: Any) -> list[Definition]:
    """Return the definition, in a list that is empty if it has no docstring."""
    docstring = value.__doc__
    if not isinstance(docstring, str) or not docstring.strip():
        return []
    return [_definition(name, kind, _c_signature(value), inspect.cleandoc(docstring))]


def _c_signature(value: Any) -> str:
    try:
        parameters = inspect.signature(value).parameters.values()
        text = str(inspect.Signature([p for p in parameters if p.name != "self"]))
    except Exception:  # none is known, or a default names a constant that this platform lacks
        return ""
    return "" if " at 0x" in text else text  # an address differs from run to run


def _definition(name: str, kind: str, signature: str, docstring: str) -> Definition:
    """Make a definition; opening lines such as ``gcd(x, y) -> int`` are taken for signatures."""
    short = re.escape(name.rpartition(".")[2])
    opening = re.compile(rf"(?:[\w.]+\.)?{short}(\(.*\))(?:\s*(?:--?>|=)\s*\S+(?: \S+)?)?[.:]?\s*")
    first, _, rest = docstring.partition("\n")
    while (match := opening.fullmatch(first)) and rest.strip():
        signature = signature or match[1]
        docstring = inspect.cleandoc(rest)
        first, _, rest = docstring.partition("\n")
    return Definition(name, kind, signature, docstring)


def documents_of(modules: Collection[Module]) -> list[Document]:
    """Turn modules into documents, each under its shortest public name.

    Parameters
    ----------
    modules : collection of Module
        Where two define the same public name, the first counts.

    Returns
    -------
    list of Document
        Sorted by id, which is the dotted name. The text is the name and, below it, the first paragraph of the
        docstring: it says what a thing is for, and questions find it better than the whole docstring. What
        several names say in the same words is there once, under the shortest of them. The metadata are
        ``module``, ``kind`` (``"module"``, ``"class"``, ``"function"`` or ``"method"``) and ``signature``.
    """
    public_names = _PublicNames(modules)
    documents: dict[str, Document] = {}
    for module in modules:
        for definition in [Definition("", "module", "", module.docstring), *module.definitions]:
            summary = _summary(definition.docstring)
            place = public_names.find(module.name, definition.name)
            if place and " " in summary:  # a single word says no more than the name
                dotted = _dotted(*place)
                metadata = {"module": place[0], "kind": definition.kind, "signature": definition.signature}
                documents.setdefault(dotted, Document(dotted, f"{dotted}\n{summary}", metadata))
    by_summary: dict[str, Document] = {}
    for document in sorted(documents.values(), key=lambda document: _length(document.id)):
        by_summary.setdefault((document.text or "").partition("\n")[2], document)
    return sorted(by_summary.values(), key=lambda document: document.id)


def _summary(docstring: str) -> str:
    """Return the first paragraph; a long one is cut at the end of a line."""
    paragraph = re.split(r"\n\s*\n", docstring.strip(), maxsplit=1)[0]
    if len(paragraph) <= MAX_SUMMARY:
        return paragraph
    head = paragraph[:MAX_SUMMARY]
    return (head.rpartition("\n")[0] or head).rstrip()


def _dotted(module: str, name: str) -> str:
    """Join module and name as users write them; an empty name stands for the module itself."""
    return ".".join([module, name] if name and module != "builtins" else [name or module])


def _length(dotted: str) -> tuple[int, int, str]:
    return dotted.count("."), len(dotted), dotted


def _is_private(module: str) -> bool:
    return module in _IMPLEMENTATIONS or any(part.startswith("_") for part in module.split("."))


class _PublicNames:
    """Finds the names under which users reach a definition, from the import statements of all modules.

    A module re-exports what it imports from a private module, or, if it is a package, from its own modules.
    """

    def __init__(self, modules: Collection[Module]) -> None:
        self._exports = {module.name: module.exports for module in modules if module.exports is not None}
        self._importers: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
        for module in modules:
            for source, name, here in module.imports:
                if _is_private(source) or source.startswith(f"{module.name}."):
                    self._importers[source, name].append((module.name, here))

    def find(self, module: str, name: str) -> tuple[str, str] | None:
        """Return the public module and the name in it, the shortest; ``None`` if there is none.

        An empty name stands for the module itself.
        """
        if module in _PUBLIC_MODULE:
            return _PUBLIC_MODULE[module], name
        if not name:
            return None if _is_private(module) else (module, "")
        first, dot, rest = name.partition(".")
        places = list(self._places(module, first, set()))
        if not places:
            return None
        public, first = min(places, key=lambda place: _length(_dotted(*place)))
        return public, first + dot + rest

    def _places(self, module: str, name: str, seen: set[str]) -> Iterator[tuple[str, str]]:
        seen.add(module)
        if module in _PUBLIC_MODULE or not _is_private(module):
            yield _PUBLIC_MODULE.get(module, module), name
        importers = list(self._importers.get((module, name), ()))
        if self._is_exported(module, name):
            importers += [(importer, name) for importer, _ in self._importers.get((module, "*"), ())]
        for importer, here in importers:
            if importer not in seen and self._is_exported(importer, here):
                yield from self._places(importer, here, seen)

    def _is_exported(self, module: str, name: str) -> bool:
        return not name.startswith("_") and name in self._exports.get(module, (name,))
