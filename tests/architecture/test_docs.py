"""What the documentation names exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
NAMED = sorted(
    {
        (page.name, *match.groups())
        for page in (ROOT / "docs").glob("*.md")
        for match in re.finditer(r"`(tests/[\w/.]+)(?:::(\w+))?`", page.read_text(encoding="utf-8"))
    },
    key=str,
)


@pytest.mark.parametrize(("page", "file", "function"), NAMED)
def test_every_test_that_a_page_names_is_there(page, file, function):
    source = (ROOT / file).read_text(encoding="utf-8")
    assert function is None or re.search(rf"^(async )?def {function}\(", source, re.MULTILINE)


def test_pages_name_some():
    assert len(NAMED) > 20
