"""What holds for every test: hypothesis asks the same questions in each run, so that a green tree stays green; and no
two tests have one name, for whoever shares tests out among processes runs each name once.

`HYPOTHESIS_PROFILE=searching make test` looks for new ones.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import settings

if TYPE_CHECKING:
    import pytest

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("searching", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Number the tests of one name: schemathesis gives all operations of a schema the same."""
    seen: Counter[str] = Counter()
    for item in items:
        name = item.nodeid
        if seen[name]:
            item._nodeid = f"{name}[{seen[name]}]"
        seen[name] += 1
