"""Run the notebooks of this folder and save what they print and draw: `python notebooks/refresh.py [NAME …]`."""

import sys
import tempfile
from pathlib import Path

import nbclient
import nbformat

FOLDER = Path(__file__).parent


def main(names: list[str]) -> None:
    """Run the notebooks named, by default all; no times are saved, so that only new results make a difference."""
    for path in [FOLDER / name for name in names] or sorted(FOLDER.glob("*.ipynb")):
        print(path.name)
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            resources = {"metadata": {"path": folder}}
            nbclient.NotebookClient(notebook, timeout=1200, resources=resources, record_timing=False).execute()
        nbformat.write(notebook, path)


if __name__ == "__main__":
    main(sys.argv[1:])
