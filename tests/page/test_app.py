"""The served page through the real Gradio client."""

import ast
import asyncio
import base64
import json

import gradio as gr
import httpx2
import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from PIL import Image, ImageDraw

from purifier import Purifier, load_classifier, read_image
from purifier.alarm import alarm_of
from purifier.attacks import AttackSettings
from purifier.classifiers.classifier import MODELS
from purifier.classifiers.taxonomy import full_name
from purifier.defences import FAMILIES
from purifier.pictures.files import quantise, to_batch
from purifier.pipeline import SUITED
from purifier.readings import is_out_of_distribution, read
from purifier.runs import Attack, attack_steps, mean_reading, purified_picture
from purifier.ui.page import build_page
from tests.helpers.pictures import is_but_for_rounding, lesion_like
from tests.helpers.server import serving, start_app

pytestmark = pytest.mark.filterwarnings("ignore")  # the server's own threads and sockets


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    lesion_like(1).save(folder / "MEL-teacher.png")
    lesion_like(2).save(folder / "a mole.jpg")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PURIFIER_EXAMPLES", str(folder))
        demo = build_page()
    with serving(demo) as url:
        yield url


@pytest.fixture(scope="module")
def client(page):
    return Client(page, verbose=False)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("picture") / "lesion.png"
    lesion_like(0).save(path)
    return path


def test_the_api_has_four_named_endpoints_with_their_parameters(client):
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    assert set(endpoints) == {"/classify", "/attack", "/purify", "/compare"}
    names = {name: [p["parameter_name"] for p in e["parameters"]] for name, e in endpoints.items()}
    assert names["/classify"] == ["picture", "classifier"]
    purifier = ["blocks", "sigma", "weight", "scales"]
    own = ["method", "epsilon", "steps", "target", "seed", "knows_purifier"]
    assert names["/attack"] == ["picture", "classifier", *own, *purifier, "denoiser"]
    assert names["/purify"] == ["picture", "classifier", *purifier, "seed", "draws", "denoiser"]
    assert names["/compare"] == ["picture", "classifier", "draws", "original"]
    assert all("not a medical device" in e["description"] for e in endpoints.values())


def test_what_is_typed_into_a_control_reaches_the_check_of_its_handler():
    numbers = [block for block in build_page().blocks.values() if isinstance(block, (gr.Number, gr.Slider))]
    assert len(numbers) > 12 and all(number.preprocess(-1e300) == -1e300 for number in numbers)


def test_classify_says_what_the_package_says(client, file, classifier):
    reading = client.predict(handle_file(file), api_name="/classify")
    x = quantise(read_image(file))
    assert list(reading["probabilities"].values()) == pytest.approx(
        classifier.probabilities(x)[0].sort(descending=True).values.tolist()
    )
    assert set(reading["probabilities"]) >= {"Melanoma", "Melanocytic nevus"}
    assert reading["diagnosis"] == next(iter(reading["probabilities"]))
    assert reading["malignant"] == pytest.approx(read(classifier, x)[0].malignant())


def drawn_house():
    """No dermoscopy: a red house under a blue sky."""
    picture = Image.new("RGB", (256, 256), (120, 180, 250))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 180, 256, 256), fill=(60, 160, 60))
    draw.rectangle((70, 110, 190, 220), fill=(200, 60, 50))
    draw.polygon([(60, 110), (200, 110), (130, 50)], fill=(110, 40, 30))
    draw.rectangle((115, 160, 145, 220), fill=(90, 60, 30))
    return picture


def test_a_reading_says_how_far_to_trust_it(client, file, tmp_path, classifier):
    path = tmp_path / "house.png"
    drawn_house().save(path)
    house = client.predict(handle_file(path), api_name="/classify")
    lesion = client.predict(handle_file(file), api_name="/classify")
    assert house["unlike_dermoscopy"] is True
    for reading, source in ((house, path), (lesion, file)):
        x = quantise(read_image(source))
        assert reading["unsure"] is read(classifier, x)[0].unsure
        assert reading["unlike_dermoscopy"] is is_out_of_distribution(classifier, x)
    scores = json.loads((MODELS / "augmented" / "metrics.json").read_text(encoding="utf-8"))["clean"]
    rate = lesion["recognition_rate"]
    assert rate["accuracy"] == scores["accuracy"] and rate["balanced_accuracy"] == scores["balanced_accuracy"]
    assert rate["of_this_diagnosis"] == scores["recall"][read(classifier, quantise(read_image(file)))[0].top]


def test_an_attacker_may_know_the_purifier_and_name_the_target_in_full(client, file):
    few = dict(epsilon=4, steps=3, blocks=1, scales=[1], sigma=6, weight=0.02, seed=3)
    attacked, reading = client.predict(
        handle_file(file), target="Melanocytic nevus", knows_purifier=True, **few, api_name="/attack"
    )
    known = Purifier(blocks=1, scales=(1,), sigma=6 / 255, weight=0.02)
    how = Attack(settings=AttackSettings(eps=4 / 255, steps=3), target="NV", known=known, seed=3)
    *_, expected = attack_steps(load_classifier(), quantise(read_image(file)), how)
    assert torch.equal(to_batch(Image.open(attacked)), expected)
    oblivious, _ = client.predict(handle_file(file), target="nevus", **few, api_name="/attack")
    assert not torch.equal(to_batch(Image.open(oblivious)), expected)


def test_attack_and_purify_give_pictures_that_the_package_gives(client, file, classifier):
    attacked, reading = client.predict(handle_file(file), epsilon=4, steps=5, api_name="/attack")
    assert attacked.endswith(".png")
    original, adv = read_image(file), read_image(attacked, size=None)
    assert adv.shape == (1, 3, 224, 224)
    assert 0 < (adv - original).abs().max() <= 4 / 255 + 1e-6
    assert sum(reading["probabilities"].values()) == pytest.approx(1)
    y = classifier(original).argmax(1)
    assert classifier.probabilities(adv)[0, y] < classifier.probabilities(original)[0, y]

    clean, reading = client.predict(handle_file(attacked), seed=3, api_name="/purify")
    expected = quantise(Purifier()(adv, torch.Generator().manual_seed(3)))
    assert is_but_for_rounding(to_batch(Image.open(clean)), expected)
    mean = mean_reading(classifier, Purifier(), adv, draws=4, seed=3)
    assert list(reading["probabilities"].values()) == pytest.approx(list(mean.as_dict().values()), abs=1e-5)
    assert (reading["draws"], reading["agreeing"]) == (4, mean.agreeing)
    alarm = alarm_of(classifier, read(classifier, adv)[0], mean, Purifier())
    assert reading["alarm"].pop("score") == pytest.approx(alarm.score, abs=1e-4)
    assert reading["alarm"] == {"false_alarm_rate": alarm.false_alarm_rate, "attacked": alarm.attacked}
    same, alone = client.predict(handle_file(attacked), seed=3, draws=1, api_name="/purify")
    assert alone["alarm"]["attacked"] is None
    assert is_but_for_rounding(to_batch(Image.open(same)), expected) and alone["draws"] == 1
    assert list(alone["probabilities"].values()) == pytest.approx(
        classifier.probabilities(expected)[0].sort(descending=True).values.tolist(), abs=1e-5
    )


def test_compare_has_every_defence(client, file):
    attacked, _ = client.predict(handle_file(file), api_name="/attack")
    rows = client.predict(handle_file(attacked), original=handle_file(file), draws=2, api_name="/compare")
    assert len(rows) == len(FAMILIES) + 3 and {row["draws"] for row in rows} == {1, 2}
    nothing, mdda, with_rof = rows[:3]
    assert nothing["defence"] == "nothing" and nothing["kept"] == 0 and mdda["defence"] == "MDDA"
    assert with_rof["defence"] == "MDDA with ROF"
    assert nothing["psnr"] > mdda["psnr"] > 20 and nothing["ssim"] > mdda["ssim"]
    alone = client.predict(handle_file(file), draws=1, api_name="/compare")
    assert alone[0]["kept"] == 100 and alone[0]["psnr"] is None


async def call_tool(url: str, tool: str, **arguments):
    """The README's client of the Model Context Protocol."""
    async with (
        streamablehttp_client(f"{url}gradio_api/mcp/") as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        return await session.list_tools(), await session.call_tool(tool, arguments)


def test_the_endpoints_are_tools_for_assistants(page, client, file, classifier):
    data = "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()
    tools, answer = asyncio.run(call_tool(page, "classify", picture=data))
    described = {tool.name: tool.description for tool in tools.tools}
    assert {"classify", "attack", "purify", "compare"} <= set(described)
    assert all("not a medical device" in described[name] for name in ("classify", "attack", "purify", "compare"))
    assert not answer.isError
    reading = ast.literal_eval(answer.content[0].text)  # Gradio writes it so
    assert reading["diagnosis"] == full_name(read(classifier, quantise(read_image(file)))[0].top)


def test_a_tool_needs_the_picture_alone(page, file):
    data = "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()
    tools, answer = asyncio.run(call_tool(page, "purify", picture=data, draws=1, denoiser="rof"))
    (schema,) = (tool.inputSchema for tool in tools.tools if tool.name == "purify")
    assert schema["required"] == ["picture"] and not answer.isError


def test_a_tool_s_error_says_what_is_wrong(page, file):
    data = "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()
    _, answer = asyncio.run(call_tool(page, "purify", picture=data, blocks=0))
    assert answer.isError and "Blocks must" in answer.content[0].text


def test_settings_reach_the_purifier(client, file):
    nothing = dict(blocks=1, sigma=0, scales=[1], seed=0)
    clean, _ = client.predict(handle_file(file), **nothing, api_name="/purify")
    assert torch.equal(to_batch(Image.open(clean)), quantise(read_image(file)))


@pytest.mark.parametrize("denoiser", SUITED)
def test_what_is_left_out_suits_the_denoiser(client, file, denoiser):
    x = quantise(read_image(file))

    def purified(**settings):
        clean, _ = client.predict(handle_file(file), denoiser=denoiser, draws=1, **settings, api_name="/purify")
        return to_batch(Image.open(clean))

    assert torch.equal(purified(), purified_picture(Purifier(denoiser=denoiser), x))
    assert torch.equal(purified(blocks=None, scales=None), purified())
    some = Purifier(denoiser=denoiser, blocks=1, scales=(1,))
    assert torch.equal(purified(blocks=1, scales=[1]), purified_picture(some, x))
    how = dict(denoiser=denoiser, epsilon=4, steps=1, seed=3, knows_purifier=True)
    attacked, _ = client.predict(handle_file(file), **how, api_name="/attack")
    known = Attack(settings=AttackSettings(eps=4 / 255, steps=1), known=Purifier(denoiser=denoiser), seed=3)
    *_, expected = attack_steps(load_classifier(), x, known)
    assert torch.equal(to_batch(Image.open(attacked)), expected)


def test_without_a_denoiser_it_is_the_learned_one(client, file):
    (usual, learned, rof) = (
        to_batch(Image.open(client.predict(handle_file(file), draws=1, **settings, api_name="/purify")[0]))
        for settings in ({}, dict(denoiser="learned"), dict(denoiser="rof"))
    )
    assert torch.equal(usual, learned) and not torch.equal(usual, rof)


def test_the_denoiser_may_be_either(client, file):
    few = dict(blocks=1, sigma=8, scales=[1])
    rof, learned = (Purifier(denoiser=name, blocks=1, scales=(1,), sigma=8 / 255) for name in ("rof", "learned"))
    clean, _ = client.predict(handle_file(file), **few, draws=1, denoiser="learned", api_name="/purify")
    x = read_image(file)
    assert torch.equal(to_batch(Image.open(clean)), purified_picture(learned, x))
    assert not torch.equal(to_batch(Image.open(clean)), purified_picture(rof, x))
    how = dict(few, epsilon=4, steps=2, knows_purifier=True)
    knowing = [
        to_batch(Image.open(client.predict(handle_file(file), **how, denoiser=name, api_name="/attack")[0]))
        for name in ("rof", "learned")
    ]
    assert not torch.equal(*knowing)


@pytest.mark.parametrize(
    ("endpoint", "settings", "message"),
    [
        ("/classify", dict(classifier="nothing"), "no bundled classifier"),
        ("/classify", dict(classifier="local-dir:/etc"), "Folders cannot be opened"),
        ("/attack", dict(method="cw"), "method must be one of"),
        ("/attack", dict(target="XYZ"), "target must be one of"),
        ("/purify", dict(scales=[0.5]), "Scale 1 must be among the scales"),
        ("/purify", dict(scales=[50, 1]), "scales must"),
        ("/purify", dict(blocks=0), "Blocks must"),
        ("/purify", dict(blocks=10**6), "Blocks must"),
        ("/purify", dict(weight=-1), "Denoising weight must"),
        ("/purify", dict(draws=65), "Draws averaged must be a number from 1 to 64"),
        ("/purify", dict(denoiser="magic"), "denoiser must be 'learned' or 'rof'"),
        ("/purify", dict(denoiser=None), "denoiser must be 'learned' or 'rof'"),
        ("/attack", dict(steps=10**9), "Attack steps must"),
        ("/attack", dict(epsilon=0), "Epsilon, in 1/255 must"),
        ("/attack", dict(seed=2**70), "Seed must"),
        ("/attack", dict(epsilon=1.5), "Epsilon, in 1/255 must be a whole number"),
        ("/attack", dict(steps=2.5), "Attack steps must be a whole number"),
        *(
            (endpoint, {name: value}, f"{said} must be")
            for endpoint, name, said in (
                ("/attack", "method", "method"),
                ("/attack", "target", "target"),
                ("/attack", "knows_purifier", "knows_purifier"),
                ("/attack", "epsilon", "Epsilon, in 1/255"),
                ("/attack", "steps", "Attack steps"),
                ("/attack", "seed", "Seed"),
                ("/purify", "blocks", "Blocks"),
                ("/purify", "sigma", "Noise sigma, in 1/255"),
                ("/purify", "weight", "Denoising weight"),
                ("/purify", "seed", "Seed"),
                ("/purify", "draws", "Draws averaged"),
                ("/compare", "draws", "Draws"),
            )
            for value in (None, [1], {"a": 1})
            if value is not None or name not in ("blocks", "sigma")  # None is what suits the denoiser
        ),
        *(
            (endpoint, {name: value}, f"{said} must be a number from")
            for endpoint, name, said in (
                ("/attack", "epsilon", "Epsilon, in 1/255"),
                ("/purify", "sigma", "Noise sigma, in 1/255"),
                ("/purify", "seed", "Seed"),
            )
            for value in (-1, 1e308, 10**400, "1", "", True)
        ),
        *(("/purify", dict(scales=value), "scales must be a list of numbers") for value in ([True], [10**400], [None])),
        ("/purify", dict(scales=[1] * 1000), "scales must be some of"),
        *(
            ("/classify", dict(classifier=f"hf-hub:{name}"), "is not a repository name: write 'hf-hub:owner/name'")
            for name in (
                "../../etc/passwd",
                "/etc/passwd",
                "owner/../name",
                "https://example.org/x",
                "http://127.0.0.1:80/x",
                "127.0.0.1:80/x",
                "owner",
                "a/b/c",
                "owner/name@",
                "owner/name@..",
                "owner/name@../../main",
                "owner/name@refs/../x",
                "owner/name@a b",
                "owner/name?x=1",
                "owner/name#x",
                "a\0/b",
            )
        ),
        *(
            ("/classify", dict(classifier=name), "no bundled classifier")
            for name in ("../assets/models/augmented", "/etc/passwd", "file:///etc/passwd", "https://example.org/x", "")
        ),
        ("/classify", dict(classifier="local-dir:../.."), "Folders cannot be opened"),
        ("/attack", dict(target="../x"), "target must be one of"),
        ("/attack", dict(method=""), "method must be one of"),
        ("/classify", dict(classifier=None), "classifier must be a text, and is null"),
        ("/classify", dict(classifier=[1]), "no bundled classifier"),
        ("/purify", dict(scales={"a": 1}), "scales must be a list of numbers"),
        ("/purify", dict(scales=["1"]), "scales must be a list of numbers"),
        ("/purify", dict(scales=1), "scales must be a list of numbers"),
    ],
)
def test_bad_settings_are_answered_with_the_reason(client, file, endpoint, settings, message):
    with pytest.raises(AppError, match=message):
        client.predict(handle_file(file), **settings, api_name=endpoint)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("name", ["blocks", "sigma", "weight", "scales", "seed", "draws"])
def test_numbers_that_are_none_are_answered_with_the_reason(page, client, file, name, value):
    """Which Gradio's client does not send, and others may."""
    (sent,) = httpx2.post(f"{page}gradio_api/upload", files={"files": file.read_bytes()}).json()
    purifier = dict(blocks="1", sigma="8", weight="0.02", scales="[1]", seed="0", draws="1")
    settings = {**purifier, "denoiser": '"rof"', name: f"[{value}]" if name == "scales" else value}
    picture = json.dumps({"path": sent, "meta": {"_type": "gradio.FileData"}})
    body = f'{{"data": [{picture}, "augmented", {", ".join(settings.values())}]}}'
    asked = httpx2.post(f"{page}gradio_api/call/purify", content=body, headers={"Content-Type": "application/json"})
    answer = httpx2.get(f"{page}gradio_api/call/purify/{asked.json()['event_id']}", timeout=60).text
    assert answer.startswith("event: error") and " must be a" in answer


def test_a_name_that_is_not_known_is_answered_with_the_reason(client, file):
    with pytest.raises(TypeError, match="`strength` is not a valid"):
        client.predict(handle_file(file), strength=1, api_name="/attack")


def test_a_long_value_is_not_repeated_whole(client, file):
    with pytest.raises(AppError) as error:
        client.predict(handle_file(file), classifier="a" * 100_000, api_name="/classify")
    assert "no bundled classifier" in str(error.value) and len(str(error.value)) < 1000


def test_a_file_that_is_no_picture_is_answered_with_the_reason(client, tmp_path):
    path = tmp_path / "text.png"
    path.write_text("no picture", encoding="utf-8")
    with pytest.raises(AppError, match="JPEG, PNG, WebP, TIFF or BMP"):
        client.predict(handle_file(path), api_name="/classify")


def test_no_picture_is_answered_with_the_reason(client):
    with pytest.raises(AppError, match="No picture"):
        client.predict(None, api_name="/classify")


def test_real_pictures_work(client, isic2019, classifier):
    for path in sorted((isic2019 / "ISIC_2019_Training_Input").glob("*.jpg"))[::4000]:
        reading = client.predict(handle_file(path), api_name="/classify")
        assert len(reading["probabilities"]) == 8
        clean, _ = client.predict(handle_file(path), api_name="/purify")
        assert np.asarray(Image.open(clean)).shape == (224, 224, 3)


def test_app_py_starts_where_it_is_told_to(tmp_path):
    server, body = start_app(tmp_path / "log")
    server.terminate()
    server.wait()
    assert "Lesion Purifier" in body


def ended_by(demo, label):
    """The names of the handlers that a button of the page ends."""
    (button,) = [key for key, b in demo.blocks.items() if isinstance(b, gr.Button) and f'"{label}"' in b.value]
    return {demo.fns[i].name for fn in demo.fns.values() if (button, "click") in fn.targets for i in fn.cancels}


def test_what_brings_another_picture_ends_what_would_come_after_it():
    """Also a lesson, and a new class what a lesson would still write."""
    demo = build_page()
    of_a_picture = {"attack", "purify", "live", "watch", "look", "set_truth", "report_links", "load_settings"}
    assert of_a_picture <= ended_by(demo, "Fetch") and {"choose", "from_archive"} <= ended_by(demo, "Any error")
    assert "run_lesson" in ended_by(demo, "Begin a new class")
