"""Threads that searches share: order, errors, forks, and the end of the process."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from binrag import threads
from binrag.threads import in_threads, n_processors


@pytest.fixture
def four_processors(monkeypatch):
    """A pool of four, whatever the machine."""
    threads._pool.cache_clear()
    monkeypatch.setattr(threads, "n_processors", lambda: 4)
    yield
    threads._pool.cache_clear()


@pytest.mark.parametrize("n_threads", [1, 2, 4, 9])
@pytest.mark.parametrize("n", [0, 1, 3, 50])
def test_results_are_in_the_order_of_the_calls(n, n_threads, four_processors):
    def call(i):
        time.sleep(0.001 * (i % 3))
        return i

    assert in_threads([partial(call, i) for i in range(n)], n_threads) == list(range(n))


def test_as_many_threads_as_asked_for(four_processors):
    meeting = threading.Barrier(3, timeout=20)
    names = in_threads([lambda: (meeting.wait(), threading.current_thread().name)[1]] * 3, 3)
    assert len(set(names)) == 3
    assert threading.current_thread().name in names


def test_one_thread_is_the_callers():
    assert set(in_threads([threading.get_ident] * 5, 1)) == {threading.get_ident()}


@pytest.mark.parametrize("bad", [0, 3, 7])
def test_an_error_is_raised_when_all_have_ended(bad, four_processors):
    running = []

    def call(i):
        running.append(i)
        try:
            if i == bad:
                raise ValueError(f"call {i}")
            time.sleep(0.01)
        finally:
            running.remove(i)

    with pytest.raises(ValueError, match=f"call {bad}"):
        in_threads([partial(call, i) for i in range(8)], 4)
    assert running == []


def test_many_callers_share_the_pool(four_processors):
    def caller(i):
        return in_threads([lambda j=j: 100 * i + j for j in range(20)], 4)

    with ThreadPoolExecutor(12) as callers:
        found = list(callers.map(caller, range(100)))
    assert found == [[100 * i + j for j in range(20)] for i in range(100)]


def test_a_call_may_call_it_itself(four_processors):
    def outer(i):
        return sum(in_threads([lambda j=j: i * j for j in range(5)], 4))

    assert in_threads([partial(outer, i) for i in range(12)], 4) == [10 * i for i in range(12)]


def script(code):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    head = "import os\nfrom binrag import threads\nthreads.n_processors = lambda: 4\nfrom binrag.threads import *\n"
    command = [sys.executable, "-c", head + code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_a_pool_of_its_own():
    code = """
import time
def calls(n):
    return in_threads([lambda i=i: (time.sleep(0.005), i)[1] for i in range(n)], 4)
calls(20)
for _ in range(5):
    child = os.fork()
    if child == 0:
        os._exit(int(calls(20) != list(range(20))))
    assert os.waitpid(child, 0)[1] == 0
print(calls(3))
"""
    assert script(code) == ["[0,", "1,", "2]"]


def test_at_the_end_of_the_process_the_caller_does_all():
    code = """
import atexit
in_threads([int] * 4, 4)
atexit.register(lambda: print(in_threads([lambda: 1] * 3, 4)))
"""
    assert script(code) == ["[1,", "1,", "1]"]


def test_processors_are_those_this_process_may_use():
    if hasattr(os, "sched_getaffinity"):
        assert n_processors() == len(os.sched_getaffinity(0))
    assert n_processors() >= 1
