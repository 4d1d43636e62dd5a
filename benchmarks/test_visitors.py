"""How long visitors wait who come at the same time, from the first request to the last answer, by the API."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from gradio_client import Client, handle_file

from purifier.ui.page import build_page
from tests.helpers.pictures import lesion_like
from tests.helpers.server import serving

ROUNDS = 3
ASKED = {"attack": dict(steps=20, epsilon=2), "purify": {}}


@pytest.fixture(scope="module")
def clients():
    with serving(build_page()) as url:
        yield [Client(url, verbose=False) for _ in range(8)]


@pytest.mark.parametrize("count", [1, 2, 8])
@pytest.mark.parametrize("endpoint", ASKED)
def test_visitors(benchmark, clients, tmp_path, endpoint, count):
    """``count`` of them ask for the same."""
    lesion_like(0).save(tmp_path / "lesion.png")

    def ask(client: Client) -> None:
        client.predict(handle_file(tmp_path / "lesion.png"), api_name=f"/{endpoint}", **ASKED[endpoint])

    with ThreadPoolExecutor(count) as visitors:
        benchmark.pedantic(lambda: list(visitors.map(ask, clients[:count])), rounds=ROUNDS, warmup_rounds=1)
