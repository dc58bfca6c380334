"""The package's sources, parsed."""

import ast
import io
import tokenize
from functools import lru_cache
from pathlib import Path

import binrag

PACKAGE = Path(binrag.__file__).parent


@lru_cache
def sources():
    """Relative path to (text, tree) of every module."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        found[path.relative_to(PACKAGE).as_posix()] = (text, ast.parse(text, str(path)))
    assert len(found) > 20
    return found


def dotted(node):
    """``a.b.c`` of an expression; what is no name becomes ``?``."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return "?"


def imported_names(tree):
    """Local name to the full name of what was imported."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {
                (a.asname or a.name.split(".")[0]): (a.name if a.asname else a.name.split(".")[0]) for a in node.names
            }
        elif isinstance(node, ast.ImportFrom):
            names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return names


def calls(tree):
    """(line, full dotted name) of every call; imported names are resolved."""
    names = imported_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            first, dot, rest = name.partition(".")
            yield node.lineno, names.get(first, first) + dot + rest


def code_lines(text, tree):
    """Numbers of the lines that hold code: no blank lines, comments or docstrings."""
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    skipped |= {tokenize.ENCODING, tokenize.ENDMARKER}
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in skipped:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            # a string on its own: the docstring of a module, a class, a function or an attribute
            value = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                lines -= set(range(statement.lineno, statement.end_lineno + 1))
    return lines
