"""Measurements of binrag: `python -m benchmarks.quality` and `python -m benchmarks.scan`."""

import os

# A search of binrag runs in one thread; so must NumPy's products beside it. Read when NumPy is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
