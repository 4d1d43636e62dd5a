"""What the benchmarks share with the tests: the browser and the served page."""

from tests.conftest import chromium as chromium

pytest_plugins = ["tests.helpers.browser"]
