"""Every notebook runs as it stands, shows its results to those who only read it, and names no machine."""

import copy
import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="the dev group brings it")
nbclient = pytest.importorskip("nbclient", reason="the dev group brings it")

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MAX_BYTES = 600_000
MACHINE_PATH = re.compile(r"(?<![\w.:/])/(home|root|Users|work|tmp|var|opt|usr|mnt)/[\w.-]+|\b[A-Z]:\\\w|site-packages")


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def faults(notebook):
    """What a reader should not see, or misses."""
    cells = code_cells(notebook)
    counts = [cell.execution_count for cell in cells]
    if counts != list(range(1, len(cells) + 1)):
        yield f"cells were not run from top to bottom: {counts}"
    outputs = [output for cell in cells for output in cell.outputs]
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    if "image/png" not in kinds:
        yield "no plot was saved"
    for output in outputs:
        if output.output_type == "error" or output.get("name") == "stderr":
            yield f"an error or a warning was saved: {output}"
    texts = [value for output in outputs for kind, value in output.get("data", {}).items() if kind != "image/png"]
    texts += [output.get("text", "") for output in outputs] + [cell.source for cell in notebook.cells]
    for text in texts:
        if found := MACHINE_PATH.search(text):
            yield f"a path of a machine: {found[0]}"


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_results_are_saved_for_those_who_read_only(path):
    assert list(faults(read(path))) == []
    assert path.stat().st_size <= MAX_BYTES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_links_lead_somewhere(path):
    texts = [cell.source for cell in read(path).cells if cell.cell_type == "markdown"]
    links = [link for text in texts for link in re.findall(r"\]\((?!https?:)([^)#]+)", text)]
    assert [link for link in links if not (FOLDER / link).exists()] == []


@pytest.mark.timeout(1500)  # it encodes texts and fits codes, on whatever machine this is
@pytest.mark.filterwarnings("default")  # those of the kernel's client; the notebook's own count in `faults`
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path, tmp_path, minilm_folder):
    notebook = read(path)
    for cell in notebook.cells:
        cell.pop("outputs", None)
        if cell.cell_type == "code":
            cell.outputs = []
    client = nbclient.NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    assert [len(cell.outputs) > 0 for cell in code_cells(notebook)] == [
        len(cell.outputs) > 0 for cell in code_cells(read(path))
    ]
    assert list(tmp_path.iterdir()) == []


def test_faults_are_noticed():
    sound = read(NOTEBOOKS[0])
    cell = next(cell for cell in code_cells(sound) if cell.outputs)

    def changed(**fields):
        notebook = copy.deepcopy(sound)
        code_cells(notebook)[code_cells(sound).index(cell)].update(fields)
        return list(faults(notebook))

    assert changed() == []
    assert changed(execution_count=None)
    assert changed(outputs=[nbformat.v4.new_output("stream", name="stdout", text="read /home/me/data")])
    assert changed(outputs=[nbformat.v4.new_output("stream", name="stderr", text="Warning: x")])
    assert changed(outputs=[nbformat.v4.new_output("error", ename="E", evalue="v", traceback=[])])
    assert changed(source="open(r'C:\\data')")
    assert any("no plot" in fault for fault in faults(nbformat.v4.new_notebook(cells=[])))
