import asyncio
import gc

import gradio as gr
import pytest

from purifier.ui.events import update_on
from purifier.ui.updates import Update, by_component

pytestmark = pytest.mark.filterwarnings("ignore")  # Gradio's own loops and sockets


@pytest.fixture
def page():
    with gr.Blocks() as page:
        button = gr.Button()
        outputs = dict(status=gr.Markdown("before"), truth=gr.Textbox(), seed=gr.Number(3))
    yield page, button, outputs
    gc.collect()


def test_what_changes_is_told_by_component_and_the_rest_stays(page):
    _, _, outputs = page
    changed = by_component(Update(status="now", truth=None), outputs)
    assert changed == {outputs["status"]: "now", outputs["truth"]: None}
    assert by_component(Update(), outputs) == gr.skip()
    with pytest.raises(KeyError, match="sigma"):
        by_component(Update(sigma=3), outputs)


def answers(page, handler, outputs, count):
    """What Gradio makes of the first ``count`` answers of ``handler``."""
    demo, button, _ = page
    with demo:
        event = update_on(button.click, handler, None, outputs, api_visibility="private")

    async def process():
        iterator, found = None, []
        for _ in range(count):
            result = await demo.process_api(event["id"], [], request=gr.Request(headers={}), iterator=iterator)
            iterator = result["iterator"]
            found.append(dict(zip(outputs, result["data"], strict=True)))
        return found

    return asyncio.run(process())


@pytest.mark.parametrize("order", [("status", "truth", "seed"), ("seed", "truth", "status")])
def test_gradio_takes_updates_in_whatever_order_the_outputs_stand(page, order):
    def steps():
        yield Update(status="one")
        yield Update(seed=4, truth=None)
        yield Update()

    stays, outputs = gr.skip(), {name: page[-1][name] for name in order}
    assert answers(page, steps, outputs, 3) == [
        dict(status="one", truth=stays, seed=stays),
        dict(status=stays, truth=None, seed=4),
        dict(status=stays, truth=stays, seed=stays),
    ]
    assert answers(page, lambda: Update(seed=5), outputs, 1) == [dict(status=stays, truth=stays, seed=5)]


def test_one_output_may_change_or_stay(page):
    def steps():
        yield Update(status="one")
        yield Update()

    assert answers(page, steps, {"status": page[-1]["status"]}, 2) == [dict(status="one"), dict(status=gr.skip())]
