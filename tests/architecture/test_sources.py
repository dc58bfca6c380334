"""Rules about the sources that no linter knows: who may touch files, how kernels look, how long things get."""

import ast
from pathlib import Path

import pytest
from sources import calls, code_lines, dotted, sources

TOUCHING = {
    *("open", "os.open", "io.open", "io.FileIO", "os.fdopen", "codecs.open", "gzip.open", "tokenize.open", "mmap.mmap"),
    *("os.rename", "os.replace", "os.link", "os.truncate", "os.sendfile", "os.copy_file_range"),
    *("numpy.load", "numpy.save", "numpy.fromfile", "numpy.memmap", "numpy.genfromtxt"),
    *("hashlib.file_digest", "pickle.load", "pickle.loads", "pickle.dump", "pickle.dumps"),
}
"""Calls that open a file by its path, or move it."""

METHODS = {"open", "read_bytes", "read_text", "write_bytes", "write_text", "rename", "hardlink_to", "tofile"}
"""Methods of `Path` and arrays that do the same; `str.replace` hides `Path.replace`."""

OPENING_A_STORE = {"Store.open", "Database.open", "cls.open", "binrag.store.Store.open", "binrag.Store.open"}

ALLOWED = {
    "storage/lock.py": "the lock file beside the store, which SQLite never opens",
    "binarizers/artefact.py": "artefacts, each a file of its own",
    "readers/folders.py": "input files, by their suffix; the command leaves out its store",
    "cli/": "input files and the standard library's sources; a store is opened by Store.open only",
}
"""Where a file may be opened, and why that file is no store."""


def touches(tree):
    for line, name in calls(tree):
        last = name.rpartition(".")[2]
        is_store = name in OPENING_A_STORE or any(name.endswith(f".{known}") for known in OPENING_A_STORE)
        if name in TOUCHING or name.startswith("shutil.") or (last in METHODS and "." in name and not is_store):
            yield line, name


def found_touches():
    return {path: sorted(touches(tree)) for path, (_, tree) in sources().items()}


def test_only_sqlite_touches_a_store_file():
    allowed = tuple(ALLOWED)
    assert {path: found for path, found in found_touches().items() if found and not path.startswith(allowed)} == {}


def test_every_exception_is_still_needed():
    touching = [path for path, found in found_touches().items() if found]
    assert [place for place in ALLOWED if not any(path.startswith(place) for path in touching)] == []


@pytest.mark.parametrize(
    "code",
    [
        "open(p)",
        "import os\nos.open(p, 0)",
        "import io as x\nx.open(p)",
        "from shutil import copy as c\nc(p, q)",
        "import shutil\nshutil.copyfile(p, q)",
        "from pathlib import Path\nPath(p).open()",
        "self.path.read_bytes()",
        "(a / b).write_text(t)",
        "import numpy as np\nnp.fromfile(p)",
        "array.tofile(p)",
        "from os import replace as mv\nmv(p, q)",
    ],
)
def test_the_rule_notices(code):
    assert list(touches(ast.parse(code)))


def test_the_rule_lets_stores_open():
    code = "from binrag.store import Store\nStore.open(p)\nDatabase.open(p)\ntext.replace(a, b)\nSpool().append(b)"
    assert list(touches(ast.parse(code))) == []


def test_one_place_connects():
    connecting = {path for path, (_, tree) in sources().items() for _, name in calls(tree) if name == "sqlite3.connect"}
    assert connecting == {"storage/connect.py"}


def test_nothing_is_unpickled():
    for path, (_, tree) in sources().items():
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not {name.partition(".")[0] for name in names} & {"pickle", "dill", "joblib", "marshal", "shelve"}, (
                path
            )
            assert not (isinstance(node, ast.keyword) and node.arg == "allow_pickle"), path


def is_kernel(path):
    return path.startswith("kernels/") and not path.endswith(("__init__.py", "jit.py"))


KERNELS = sorted(path for path in sources() if is_kernel(path))


def jitted(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and any(dotted(d) == "jit" for d in node.decorator_list):
            yield node


def test_compiled_code_lives_in_the_kernels():
    for path, (_, tree) in sources().items():
        for node in ast.walk(tree):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module]
            if any(module.partition(".")[0] == "numba" for module in modules):
                assert path.startswith("kernels/"), f"{path} imports numba"


def test_all_kernels_are_compiled_in_one_way():
    compiling = {"njit", "jit", "vectorize", "guvectorize", "stencil", "cfunc", "generated_jit", "prange"}
    n_kernels = 0
    for path in KERNELS:
        _, tree = sources()[path]
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("numba"):
                assert not {alias.name for alias in node.names} & compiling, path
            if isinstance(node, ast.Attribute):
                assert dotted(node).partition(".")[2] not in compiling or dotted(node.value) != "numba", path
            assert not (isinstance(node, ast.keyword) and node.arg in ("parallel", "fastmath")), path
        n_kernels += len(list(jitted(tree)))
    assert n_kernels >= 5
    jit, _ = sources()["kernels/jit.py"]
    tree = sources()["kernels/jit.py"][1]
    keywords = [{k.arg: getattr(k.value, "value", None) for k in node.keywords} for node in ast.walk(tree)
                if isinstance(node, ast.Call) and dotted(node.func) == "numba.njit"]  # fmt: skip
    assert keywords
    assert all(found.get("nogil") is True and set(found) <= {"nogil", "cache"} for found in keywords), jit


@pytest.mark.parametrize("path", KERNELS)
def test_kernels_have_no_defaults_no_strings_and_no_errors(path):
    for function in jitted(sources()[path][1]):
        assert not function.args.defaults, function.name
        assert not [d for d in function.args.kw_defaults if d], function.name
        body = function.body[1:] if ast.get_docstring(function) else function.body
        for statement in body:
            for node in ast.walk(statement):
                assert not isinstance(node, (ast.Raise, ast.Try, ast.Assert, ast.With)), function.name
                assert not (isinstance(node, ast.Constant) and isinstance(node.value, str)), function.name


def test_torch_is_imported_where_models_live():
    for path, (_, tree) in sources().items():
        for node in ast.walk(tree):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module]
            roots = {module.partition(".")[0] for module in modules}
            if roots & {"torch", "sentence_transformers", "transformers"}:
                assert path.startswith(("encoders/", "binarizers/training.py", "cli/demo.py")), path
            assert not roots & {"langchain_core", "langchain", "llama_index"}, path


MAX_FILE, MAX_FUNCTION, MAX_CORE, MAX_BINARIZERS, MAX_READERS = 300, 50, 10_500, 2500, 650


@pytest.mark.parametrize("path", sorted(sources()))
def test_files_and_functions_stay_small(path):
    text, tree = sources()[path]
    lines = code_lines(text, tree)
    assert len(lines) <= MAX_FILE
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            n = len(lines & set(range(node.lineno, node.end_lineno + 1)))
            assert n <= MAX_FUNCTION, f"{node.name} has {n} lines"


def n_lines(is_counted):
    return sum(len(code_lines(*source)) for path, source in sources().items() if is_counted(path))


def test_the_core_stays_small():
    assert 500 < n_lines(lambda path: not path.startswith(("cli/", "binarizers/", "readers/"))) < MAX_CORE


def test_the_binarizers_stay_few():
    assert 500 < n_lines(lambda path: path.startswith("binarizers/")) < MAX_BINARIZERS


def test_the_readers_stay_small():
    assert 100 < n_lines(lambda path: path.startswith("readers/")) < MAX_READERS


COUNTED = '''"""Doc

string."""

# comment
x = 1  # one
"""about x"""

def f():
    """D."""
    return (
        x
    )
'''


def test_lines_of_code_are_counted_without_comments_and_docstrings():
    assert code_lines(COUNTED, ast.parse(COUNTED)) == {6, 9, 11, 12, 13}


def test_no_catch_all_rooms():
    names = {part.removesuffix(".py") for path in sources() for part in path.split("/")}
    assert not names & {"utils", "util", "common", "helpers", "base", "misc"}


FOLDER = Path(__file__).parents[2] / "integrations"
INTEGRATIONS = sorted(FOLDER.glob("*/l*/**/*.py"))


@pytest.mark.parametrize("path", INTEGRATIONS, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_modules_of_the_integrations_stay_small(path):
    assert path.read_text(encoding="utf-8").count("\n") <= 250


def test_there_are_integrations():
    assert len(INTEGRATIONS) > 10
