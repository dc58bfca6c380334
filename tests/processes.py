"""Other processes for the tests: interpreters that obey, and scripts."""

import json
import os
import subprocess
import sys
import textwrap
import traceback
from pathlib import Path

import binrag

_TESTS = Path(__file__).parent
_IMPORTS = [str(_TESTS), str(Path(binrag.__file__).parent.parent)]


class PeerError(AssertionError):
    """What was run in the other process raised."""


def _environment(more):
    found = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*_IMPORTS, *([found] if found else [])]), **more}


class Peer:
    """Another Python process with ``binrag`` and ``fakes`` imported, in which code can be run step by step."""

    def __init__(self, **environment):
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=_environment(environment),
        )

    @property
    def pid(self):
        return self._process.pid

    def send(self, code, **names):
        """Start running statements, without waiting."""
        self._process.stdin.write(json.dumps([textwrap.dedent(code), names]) + "\n")
        self._process.stdin.flush()

    def answer(self):
        """Wait for what was sent, and return the variable ``result`` that it left."""
        line = self._process.stdout.readline()
        if not line:
            raise PeerError(f"the process ended with code {self._process.wait()}")
        ok, value = json.loads(line)
        if not ok:
            raise PeerError(value)
        return value

    def run(self, code, **names):
        """Run statements with `names` set, and return the variable ``result`` that they leave."""
        self.send(code, **names)
        return self.answer()

    def kill(self):
        """End the process at once, as kill -9 does."""
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


def run_script(code, *arguments, timeout=120, **environment):
    """Run a script in a new interpreter; return what it printed. It has to end with code 0."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=_environment(environment),
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _obey():
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the code prints does not mix with the replies
    names = {}
    exec("import os, sys, time\nimport numpy as np\nimport binrag\nimport fakes\nfrom binrag import *", names)
    for line in sys.stdin:
        code, given = json.loads(line)
        names.update(given, result=None)
        try:
            exec(code, names)
            reply = [True, names["result"]]
        except BaseException:
            reply = [False, traceback.format_exc()]
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    _obey()
