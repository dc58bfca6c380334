"""The public face: documented, light to import, and no more than it says."""

import importlib.metadata
import inspect
import math
import re

import pytest
from processes import run_script

import binrag
from binrag import Store, errors, protocols, registry

NAMES = sorted(binrag.__all__)


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_exists_and_is_documented(name):
    value = getattr(binrag, name)
    assert inspect.getdoc(value)
    assert value.__doc__, "the docstring is inherited"
    assert len(value.__doc__.split()) >= 4


def test_the_list_of_names_is_sorted_and_complete():
    assert binrag.__all__ == NAMES
    raised = {
        name for name, value in vars(errors).items() if inspect.isclass(value) and value.__module__ == errors.__name__
    }
    assert raised <= set(NAMES)


def public_methods():
    kinds = [getattr(binrag, name) for name in NAMES if inspect.isclass(getattr(binrag, name))]
    kinds += [
        kind for kind in vars(protocols).values() if inspect.isclass(kind) and kind.__module__ == protocols.__name__
    ]
    for kind in dict.fromkeys(kinds):
        for name, value in vars(kind).items():
            if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, (property, classmethod))):
                yield pytest.param(kind, name, id=f"{kind.__name__}.{name}")


@pytest.mark.parametrize(("kind", "name"), public_methods())
def test_every_public_method_is_documented(kind, name):
    assert inspect.getdoc(getattr(kind, name))


@pytest.mark.parametrize("name", [name for name in vars(Store) if not name.startswith("_")])
def test_every_parameter_of_the_store_is_in_its_docstring(name):
    method = getattr(Store, name)
    if not callable(method):
        return
    doc = inspect.getdoc(method)
    parameters = [p for p in inspect.signature(method).parameters if p not in ("self", "cls")]
    assert [p for p in parameters if not re.search(rf"\b{p}\b|\b{p.rstrip('s')}\b", doc)] == []


@pytest.mark.parametrize("name", [name for name in vars(Store) if not name.startswith("_")])
def test_the_docstrings_of_the_store_describe_no_parameter_that_is_not_there(name):
    method = getattr(Store, name)
    doc = inspect.getdoc(method) or ""
    if "Parameters\n----------" not in doc:
        return
    section = doc.split("Parameters\n----------")[1].split("\n\n")[0]
    names = [line.split(" : ")[0].split(",") for line in section.splitlines() if " : " in line and line[0] != " "]
    described = {name.strip() for some in names for name in some}
    assert described <= set(inspect.signature(method).parameters)
    assert described


def test_every_error_is_a_binrag_error_and_a_standard_one():
    for name, value in vars(errors).items():
        if inspect.isclass(value) and value.__module__ == errors.__name__ and not issubclass(value, Warning):
            assert issubclass(value, errors.BinragError), name
            if value is not errors.BinragError:
                standard = [base for base in value.__mro__ if base.__module__ == "builtins"]
                assert standard[0] not in (Exception, BaseException, object), name


def test_importing_loads_nothing_heavy_and_opening_and_reading_neither():
    printed = run_script(
        """
        import sys
        import binrag
        HEAVY = "torch numba llvmlite sentence_transformers transformers langchain_core llama_index scipy pandas tqdm"
        HEAVY += " bm25s"
        def heavy():
            return sorted({name.partition(".")[0] for name in sys.modules} & set(HEAVY.split()))
        print(heavy())
        import os, tempfile
        with tempfile.TemporaryDirectory() as folder, binrag.Store.open(os.path.join(folder, "s")) as store:
            store.add(vectors=[[1.0, 2.0]], ids=["a"])
            store.get(["a"]), store.count(), list(store.iter()), store.info(), store.stats(), store.delete(["a"])
        print(heavy())
        """
    )
    assert printed.splitlines() == ["[]", "[]"]


def test_importing_is_quick():
    """A few times NumPy at most, as numba alone would be more; in processor time, the best of some: machines differ."""
    code = "import time; start = time.process_time(); import {}; print(time.process_time() - start)"
    best = {"numpy": math.inf, "binrag": math.inf}
    for _ in range(10):
        for name in best:
            best[name] = min(best[name], float(run_script(code.format(name))))
    assert best["binrag"] < 4 * best["numpy"]


def test_the_version_is_the_packages():
    try:
        installed = importlib.metadata.version("binrag")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("binrag runs from its sources here")
    assert binrag.__version__ == installed


def test_components_are_known_by_the_id_they_record():
    for component_id, kind in registry._BINARIZERS.items():
        assert kind.component_id == component_id


def test_types_are_shipped():
    from importlib.resources import files

    assert (files("binrag") / "py.typed").is_file()
