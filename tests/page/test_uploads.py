"""The corpus of odd files through the real client, each under its odd name."""

import re

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from purifier.ui.page import build_page
from tests.helpers.corpus import corpus
from tests.helpers.server import serving

pytestmark = pytest.mark.filterwarnings("ignore")  # the server's own threads and sockets
SMALL = [case for case in corpus() if not case.name.startswith("largest")]


@pytest.fixture(scope="module")
def client():
    with serving(build_page()) as url:
        yield Client(url, verbose=False)


@pytest.mark.parametrize("case", SMALL, ids=lambda case: ascii(case.name))
def test_each_file_is_answered_as_the_reader_answers_it(client, case, tmp_path, capfd):
    (path := tmp_path / case.name).write_bytes(case.make())
    if case.says:
        with pytest.raises(AppError) as refused:
            client.predict(handle_file(path), api_name="/classify")
        said = str(refused.value)
        assert re.search(case.says, said) and "Traceback" not in said and str(tmp_path) not in said
    else:
        assert client.predict(handle_file(path), api_name="/classify")["diagnosis"]
    assert "Traceback" not in capfd.readouterr().err
