"""The standard library as documents: what is in, under which name, and that reading runs no Python module."""

import hashlib
import json
import os
import subprocess
import sys
import textwrap

import pytest

from binrag.cli.standard_library import documents_of, find_sources, read_source, read_standard_library

READ_IN_A_NEW_PROCESS = """
import hashlib, json, sys
from binrag.cli.standard_library import read_standard_library
before = set(sys.modules)
documents = read_standard_library()
digest = hashlib.sha256(repr(documents).encode()).hexdigest()
print(json.dumps({"digest": digest, "imported": sorted(set(sys.modules) - before)}))
"""


@pytest.fixture(scope="module")
def documents():
    return read_standard_library()


@pytest.fixture(scope="module")
def by_id(documents):
    return {document.id: document for document in documents}


@pytest.fixture(scope="module")
def other_process():
    """Read in a fresh interpreter with another hash seed."""
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    command = [sys.executable, "-c", READ_IN_A_NEW_PROCESS]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.fixture
def package(tmp_path):
    """Make a package that fails as soon as it is imported."""
    files = {
        "__init__.py": '''
            """A package that draws."""
            from .shapes import *
            from ._engine import Engine as Motor, hidden_helper as _helper
            raise RuntimeError("imported")
            ''',
        "shapes.py": '''
            """Shapes to draw."""
            __all__ = ["area", "Shape"]

            def area(width, *, height: float = 1.0):
                """Compute the area.

                A second paragraph.
                """

            def outline():
                """Draw the outline only."""

            if True:
                class Shape:
                    """A shape in the plane."""

                    def __init__(self, corners, name="x"): ...

                    def __len__(self):
                        """Count the corners."""

                    def move(self, dx, dy):
                        """Move the shape away."""

                    @property
                    def centre(self):
                        """The middle of it."""

                    @staticmethod
                    def unit(size):
                        """Make a unit shape."""

                    def _hide(self):
                        """Hide the shape."""

            class Dot:
                def __init__(self, x):
                    """Make a dot at x."""

                async def blink(self):
                    """Blink a while."""
            ''',
        "_engine.py": '''
            """Machinery that nobody sees."""

            class Engine:
                """Drives the pen."""

                def start(self):
                    """Move the shape away."""

            def hidden_helper():
                """Help the engine."""

            def unreachable():
                """Nobody imports this."""
            ''',
        "tests/test_shapes.py": '"""Tests of shapes."""',
    }
    for name, text in files.items():
        path = tmp_path / "drawing" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    return tmp_path


def read_package(folder):
    return documents_of([read_source(path, name) for path, name in find_sources(folder, ["drawing"])])


def test_there_are_enough_documents_for_a_demo(documents):
    assert len(documents) >= 5000


def test_ids_are_unique_sorted_and_public(documents):
    ids = [document.id for document in documents]
    assert ids == sorted(set(ids))
    assert [i for i in ids if any(not part or part.startswith("_") for part in i.split("."))] == []


def test_no_two_documents_say_the_same(documents):
    docstrings = [document.text.partition("\n")[2] for document in documents]
    assert len(set(docstrings)) == len(docstrings)
    assert all(" " in docstring for docstring in docstrings)


def test_every_document_has_the_same_form(documents):
    for document in documents:
        assert document.text.startswith(f"{document.id}\n")
        assert document.metadata.keys() == {"module", "kind", "signature"}
        assert document.metadata["kind"] in {"module", "class", "function", "method"}
        assert " at 0x" not in document.metadata["signature"]
        if document.metadata["module"] != "builtins":
            assert f"{document.id}.".startswith(document.metadata["module"] + ".")


@pytest.mark.parametrize(
    ("name", "module", "kind", "signature", "words"),
    [
        ("datetime.datetime.strptime", "datetime", "method", "(date_string, format)", "parsed from a string"),
        ("math.gcd", "math", "function", "(*integers)", "Greatest Common Divisor"),
        ("subprocess.run", "subprocess", "function", None, "Run command with arguments"),
        ("csv.Sniffer", "csv", "class", None, "CSV"),
        ("json.JSONDecoder.decode", "json", "method", None, "Python representation"),
        ("str.split", "builtins", "method", "(sep=None, maxsplit=-1)", "list of the substrings"),
        ("collections.deque", "collections", "class", None, "list-like sequence"),
        ("collections.abc.Sequence", "collections.abc", "class", None, "operations on a read-only sequence"),
        ("os.getcwd", "os", "function", "()", "current working directory"),
        ("os.path.isdir", "os.path", "function", "(s)", "existing directory"),
        ("time.strptime", "time", "function", "(string, format)", "Parse a string to a time tuple"),
        ("tempfile", "tempfile", "module", "", "Temporary files"),
    ],
)
def test_things_are_found_under_the_name_that_users_type(by_id, name, module, kind, signature, words):
    document = by_id[name]
    assert document.metadata["module"] == module
    assert document.metadata["kind"] == kind
    assert signature in (None, document.metadata["signature"])
    assert words in " ".join(document.text.split())


def test_implementation_modules_are_not_named(documents):
    modules = {document.metadata["module"] for document in documents}
    assert not modules & {"_datetime", "_pydatetime", "posix", "genericpath", "antigravity", "this"}
    assert not [module for module in modules if {"test", "tests", "idlelib"} & set(module.split("."))]


def test_two_processes_read_the_same(documents, other_process):
    assert other_process["digest"] == hashlib.sha256(repr(documents).encode()).hexdigest()


def test_python_modules_are_read_but_not_imported(documents, other_process):
    modules = {"smtplib", "mailbox", "turtle", "xmlrpc.client", "wsgiref.util", "unittest.mock", "csv"}
    assert modules <= {document.metadata["module"] for document in documents}
    assert not modules & set(other_process["imported"])


def test_a_package_is_read_from_source_without_running_it(package):
    found = {document.id: document for document in read_package(package)}
    assert found.keys() == {
        "drawing",
        "drawing.area",
        "drawing.Shape",
        "drawing.Shape.move",
        "drawing.Shape.centre",
        "drawing.Shape.unit",
        "drawing.Motor",
        "drawing.shapes",
        "drawing.shapes.outline",
        "drawing.shapes.Dot",
        "drawing.shapes.Dot.blink",
    }
    assert found["drawing.area"].text == "drawing.area\nCompute the area."
    assert found["drawing.area"].metadata == {
        "module": "drawing",
        "kind": "function",
        "signature": "(width, *, height: float=1.0)",
    }
    assert found["drawing.Shape"].metadata["signature"] == "(corners, name='x')"
    assert found["drawing.Shape.move"].metadata["kind"] == "method"
    assert found["drawing.Shape.move"].metadata["signature"] == "(dx, dy)"
    assert found["drawing.Shape.centre"].metadata["signature"] == ""
    assert found["drawing.Shape.unit"].metadata["signature"] == "(size)"
    assert found["drawing.Motor"].text == "drawing.Motor\nDrives the pen."
    assert found["drawing.shapes.Dot"].text == "drawing.shapes.Dot\nMake a dot at x."
    assert "drawing" not in sys.modules


def test_a_docstring_of_several_names_stays_under_the_shortest(tmp_path):
    package = tmp_path / "drawing"
    package.mkdir()
    for name in ("aa", "long_name", "b"):
        (package / f"{name}.py").write_text('def go():\n    """Go there now."""\n', encoding="utf-8")
    assert [document.id for document in read_package(tmp_path)] == ["drawing.b.go"]


def test_an_opening_line_that_is_a_signature_is_not_the_summary(tmp_path):
    package = tmp_path / "drawing"
    package.mkdir()
    source = '''
        class Pen:
            def draw(self, *args):
                """P.draw(x[, y]) -> bool

                Draw a line to x.
                """

            def lift(self):
                """lift() -> None"""
        '''
    (package / "__init__.py").write_text(textwrap.dedent(source), encoding="utf-8")
    assert [document.text for document in read_package(tmp_path)] == [
        "drawing.Pen.draw\nDraw a line to x.",
        "drawing.Pen.lift\nlift() -> None",
    ]


def test_a_long_summary_is_cut_at_the_end_of_a_line(tmp_path):
    package = tmp_path / "drawing"
    package.mkdir()
    lines = [f"line number {i} of this summary" for i in range(100)]
    (package / "__init__.py").write_text('"""' + "\n".join(lines) + '"""', encoding="utf-8")
    [document] = read_package(tmp_path)
    kept = document.text.splitlines()[1:]
    assert kept == lines[: len(kept)]
    assert 400 < len(document.text) <= 520


def test_a_module_that_cannot_be_read_is_skipped(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdlib_module_names", frozenset({"csv", "json", "math"}))
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    (tmp_path / "csv.py").write_text("def broken(:", encoding="utf-8")
    (tmp_path / "json").mkdir()
    (tmp_path / "json" / "__init__.py").write_text('"""JSON, but ours."""', encoding="utf-8")
    with pytest.raises(SyntaxError):
        read_source(tmp_path / "csv.py", "csv")
    calls = []
    ids = [document.id for document in read_standard_library(lambda done, total: calls.append((done, total)))]
    assert "json" in ids
    assert "math.gcd" in ids
    assert not [i for i in ids if i.startswith("csv")]
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_a_file_that_shadows_a_c_module_is_not_run(tmp_path, monkeypatch):
    marker = tmp_path / "ran"
    (tmp_path / "cmath.py").write_text(f"open({str(marker)!r}, 'w').close()", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cmath", raising=False)
    monkeypatch.setattr(sys, "stdlib_module_names", frozenset({"cmath"}))
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path / "nowhere"))
    read_standard_library()
    assert not marker.exists()
