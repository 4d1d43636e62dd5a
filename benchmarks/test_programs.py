"""How long programs wait that ask at the same time, from the first request to the last answer."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from gradio_client import Client, handle_file

from purifier.ui.page import build_page
from tests.helpers.pictures import lesion_like
from tests.helpers.server import serving

pytestmark = pytest.mark.filterwarnings("ignore")  # the server's own threads and sockets
ROUNDS = 3
ASKED = {
    "attack": ("/attack", dict(steps=20, epsilon=2)),
    "purify": ("/purify", {}),
    "purify, rof": ("/purify", dict(denoiser="rof")),
}


@pytest.fixture(scope="module")
def page():
    torch.set_num_threads(1)  # as ``serve`` has it
    with serving(build_page()) as url:
        yield url


@pytest.mark.parametrize("count", [1, 2, 8])
@pytest.mark.parametrize("what", ASKED)
def test_programs(benchmark, page, tmp_path, what, count):
    """``count`` of them ask for the same."""
    lesion_like(0).save(tmp_path / "lesion.png")

    endpoint, settings = ASKED[what]

    def ask(client: Client) -> None:
        client.predict(handle_file(tmp_path / "lesion.png"), api_name=endpoint, **settings)

    with ThreadPoolExecutor(count) as programs:

        def set_up() -> tuple[tuple, dict]:  # new ones each time: the server ends connections left idle
            return (list(programs.map(lambda _: Client(page, verbose=False), range(count))),), {}

        benchmark.pedantic(
            lambda clients: list(programs.map(ask, clients)), setup=set_up, rounds=ROUNDS, warmup_rounds=1
        )
