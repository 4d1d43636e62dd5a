import itertools
import json
from dataclasses import replace

import pytest
import torch
from PIL import Image
from timm.data.transforms_factory import transforms_imagenet_eval
from torch.testing import assert_close

from purifier.classifiers.classifier import Classifier, load_classifier
from purifier.classifiers.preparation import CROPS, INTERPOLATIONS, of_timm, resample
from purifier.classifiers.transformers_format import Network, what_it_does
from tests.helpers.classifiers import save

LEVEL = 1 / 255
SIZES = ((97, 131), (313, 200), (250, 250), (64, 64))


def noise(height, width):
    """The hardest picture to agree on, 8 bits."""
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(height), dtype=torch.uint8)


def as_picture(x):
    return Image.fromarray(x.permute(1, 2, 0).numpy())


def assert_same(made, expected, interpolation):
    """Up to Pillow's rounding to 8 bits, once across and once down; a bicubic overshoot is cut off between the two."""
    assert made.shape == expected.shape
    if interpolation == "nearest":
        assert_close(made, expected, rtol=0, atol=1e-6)
    assert (made - expected).abs().mean() < 0.6 * LEVEL
    if interpolation != "bicubic":
        assert (made - expected).abs().max() < 1.3 * LEVEL


def config_of(**settings):
    mean, std = (0.1, 0.5, 0.9), (0.4, 0.5, 0.6)
    return {"input_size": (3, 96, 96), "crop_pct": 0.875, "mean": mean, "std": std, **settings}


@pytest.mark.parametrize("mode", CROPS)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_pictures_are_prepared_as_timm_s_own_transform_does(interpolation, mode):
    for size, crop in (((96, 96), 0.875), ((113, 113), 0.9), ((80, 112), 0.95), ((96, 96), 1.0), ((96, 80), 1.1)):
        config = config_of(input_size=(3, *size), crop_pct=crop, interpolation=interpolation, crop_mode=mode)
        transform = transforms_imagenet_eval(
            size, crop, mode, interpolation=interpolation, mean=config["mean"], std=config["std"]
        )
        mean, std = (torch.tensor(config[name]).reshape(3, 1, 1) for name in ("mean", "std"))
        for picture in (noise(*sides) for sides in SIZES):
            expected = transform(as_picture(picture)) * std + mean
            assert_same(of_timm(config, "x")(picture[None] / 255)[0], expected, interpolation)


@pytest.mark.parametrize("floor", [False, True])
@pytest.mark.parametrize(("mode", "crop"), [("center", 0.875), ("center", 1.1), ("squash", 1.0), ("border", 0.9)])
def test_what_the_network_sees_is_put_back_where_it_lies_on_the_picture(mode, crop, floor):
    """Each pixel brings its own place along."""
    for size, sides in itertools.product(((96, 96), (81, 81), (80, 112)), (*SIZES, (97, 300))):
        preparation = of_timm(config_of(input_size=(3, *size), crop_pct=crop, crop_mode=mode), "x")
        preparation = replace(preparation, interpolation="bilinear", floor=floor)
        down, right = (torch.linspace(0.2, 0.8, side) for side in sides)
        places = torch.stack([*torch.meshgrid(down, right, indexing="ij"), torch.ones(sides)])[None]
        back = preparation.back(preparation(places), sides)
        seen = back[:, 2:] > 0.999
        assert back.shape == places.shape and seen.float().mean() > 0.2
        assert ((back - places).abs() * seen).max() < 0.6 * 3 / min(*size)  # three pixels
        assert back[back[:, 2:].expand_as(back) == 0].abs().sum() == 0


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_resampling_is_differentiable_keeps_a_flat_picture_and_bounds(interpolation):
    flat = torch.full((1, 3, 37, 53), 0.3, dtype=torch.float64)
    assert_close(resample(flat, (24, 71), interpolation), torch.full((1, 3, 24, 71), 0.3, dtype=torch.float64))
    black_and_white = torch.rand(2, 3, 37, 53, generator=torch.Generator().manual_seed(0)).round()
    x = torch.cat([black_and_white, torch.ones(1, 3, 37, 53)]).requires_grad_()
    made = resample(x, (24, 71), interpolation)
    assert made.min() > -1e-4 and made.max() < 1 + 1e-4
    (g,) = torch.autograd.grad(made.sum(), x)
    assert g.isfinite().all() and (g[-1] != 0).float().mean() > (0.5 if interpolation == "nearest" else 0.99)
    assert resample(x, (37, 53), interpolation) is x


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(interpolation="random"), "resizes pictures by 'random'; known are nearest, bilinear, bicubic, box"),
        (dict(interpolation="area"), "resizes pictures by 'area'"),
        (dict(interpolation=3), "resizes pictures by 3"),
        (dict(crop_mode="random"), "crop_mode of this must be one of center, squash, border, and is 'random'"),
        (dict(crop_pct=-0.5), "states -0.5 as its crop_pct, which must"),
        (dict(crop_pct=1e-9), "states 1e-09 as its"),
        (dict(crop_pct=1e9), "states 10.* as its"),
        (dict(input_size=(3, 96, 100_000)), "input_size of .* at most 4096, and is"),
        (dict(crop_pct="0.9"), "states '0.9' as its crop_pct"),
        (dict(crop_pct=float("nan")), "states nan as its crop_pct"),
        (dict(mean=(0.5, 0.5)), "mean of .* must be 3 finite numbers"),
        (dict(mean=(0.5, 0.5, float("nan"))), "mean of .* must be 3 finite numbers"),
        (dict(std=(0.5, 0.0, 0.5)), "std of .* must be 3 finite numbers"),
        (dict(std=0.5), "std of .* is 0.5"),
        (dict(input_size=(3, 0, 96)), "input_size of .* must be channels, height and width"),
        (dict(input_size=(3, 96)), "input_size of .* must be channels, height and width"),
        (dict(input_size=96), "input_size of .* and is 96"),
        (dict(input_size=(1, 96, 96)), "1 channels"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        of_timm(config_of(**settings), "this")


def test_settings_that_say_nothing_are_timm_s_defaults(tmp_path):
    nothing = {"interpolation": None, "crop_pct": None, "crop_mode": None, "mean": None}
    save(tmp_path, config={"pretrained_cfg": {"input_size": [3, 96, 96], **nothing}})
    loaded = load_classifier(f"local-dir:{tmp_path}")
    picture = noise(131, 97)
    transform = transforms_imagenet_eval((96, 96), interpolation="bicubic")
    assert_same(loaded.prepare(picture[None] / 255)[0] * 0.225, transform(as_picture(picture)) * 0.225, "bicubic")


PROCESSORS = {
    "height and width": dict(image_processor_type="ViTImageProcessor", size={"height": 96, "width": 80}),
    "height, width and crop": dict(image_processor_type="DeiTImageProcessor", size={"height": 101, "width": 99},
                                   crop_size={"height": 90, "width": 88}),
    "shortest edge": dict(image_processor_type="ViTImageProcessor", size={"shortest_edge": 90}),
    "shortest edge and crop": dict(image_processor_type="BitImageProcessor", size={"shortest_edge": 107},
                                   do_center_crop=True, crop_size={"height": 96, "width": 90}),
    "a crop that pads": dict(image_processor_type="BitImageProcessor", size={"shortest_edge": 60}, do_center_crop=True,
                             crop_size={"height": 80, "width": 80}),
    "crop_pct": dict(image_processor_type="ConvNextImageProcessor", size={"shortest_edge": 96}, crop_pct=0.9),
    "no crop_pct": dict(image_processor_type="ConvNextImageProcessor", size={"shortest_edge": 384}, crop_pct=0.9),
    "LeViT's": dict(image_processor_type="LevitImageProcessor", size={"shortest_edge": 96},
                    crop_size={"height": 96, "width": 96}),
    "blue first": dict(image_processor_type="MobileViTImageProcessor", size={"shortest_edge": 99},
                       crop_size={"height": 96, "width": 96}),
    "two scales": dict(image_processor_type="EfficientNetImageProcessor", size={"height": 99, "width": 99},
                       include_top=True, rescale_offset=True),
}  # fmt: skip
REFUSED = {
    "no size": dict(image_processor_type="ViTImageProcessor", do_resize=False),
    "two edges": dict(image_processor_type="ViTImageProcessor", size={"shortest_edge": 96, "longest_edge": 99}),
    "crop before size": dict(image_processor_type="PerceiverImageProcessor"),
}
CONFIG = {"model_type": "vit"}


def classifier_with(settings, resample):
    found = what_it_does(CONFIG, {**settings, "resample": resample}, "x")
    return Classifier(Network(torch.nn.Identity(), found), ["mel", "nv"], "x")


def own(folder, settings, resample, backend):
    """The library's image processor, Pillow's where torchvision has not the filter."""
    transformers = pytest.importorskip("transformers")
    (folder / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    (folder / "preprocessor_config.json").write_text(json.dumps({**settings, "resample": resample}), encoding="utf-8")
    return transformers.AutoImageProcessor.from_pretrained(folder, backend=backend)


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("number", range(6))
def test_pictures_are_prepared_as_the_image_processor_of_transformers_does(tmp_path, name, number):
    pytest.importorskip("transformers")
    settings = PROCESSORS[name]
    if name == "a crop that pads" and number > 3:
        pytest.skip("Pillow's own pads otherwise than torchvision's")
    classifier = classifier_with(settings, number)
    for backend in ("pil",) if number > 3 else ("torchvision",):
        processor = own(tmp_path, settings, number, backend)
        for picture in (noise(*sides) for sides in SIZES[:2]):
            expected = processor(images=picture, return_tensors="pt")["pixel_values"][0] * classifier.std[0]
            made = classifier.prepare(picture[None] / 255)[0] * classifier.std[0]
            assert_same(made, expected, ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")[number])


@pytest.mark.parametrize("name", REFUSED)
def test_an_image_processor_that_cannot_be_followed_is_refused_by_name(name):
    pytest.importorskip("transformers")
    with pytest.raises(ValueError, match=f"image processor of x .{REFUSED[name]['image_processor_type']}.*not known"):
        what_it_does(CONFIG, REFUSED[name], "x")


def test_a_resampling_that_is_none_is_refused():
    pytest.importorskip("transformers")
    with pytest.raises(ValueError, match="preprocessor_config.json of x cannot be used|image processor of x"):
        what_it_does(CONFIG, {**PROCESSORS["height and width"], "resample": 9}, "x")
