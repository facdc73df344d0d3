import numpy as np
import pytest
from PIL import Image
from skimage import data

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from torch import nn  # noqa: E402
from torchvision import models  # noqa: E402
from torchvision.models import convnext, efficientnet, mobilenetv3, regnet, resnet, vgg  # noqa: E402

from regionfer.models.backbones import (  # noqa: E402
    BACKBONES,
    DLIB,
    IMAGENET,
    UNIT,
    VGGFACE,
    VGGFACE2_CAFFE,
    Backbone,
    Normalisation,
    Preprocessing,
    build_backbone,
    mobilenetv1_face,
)
from regionfer.models.trunks import TrunkError, cut_trunk, imagenet_normalisation, network_names  # noqa: E402


def small_vgg(batch_norm=False):
    """Of the smallest widths that have every part of VGG16."""
    convolutions = vgg.make_layers([4, "M", 6, 6, "M", 8, "M"], batch_norm)
    with torch.device("meta"):  # full size, and replaced
        network = models.VGG(convolutions, init_weights=False)
    network.classifier[0], network.classifier[3] = nn.Linear(8 * 49, 20), nn.Linear(20, 24)
    network.classifier[6] = nn.Linear(24, 2)
    return network


FAMILIES = {
    "alexnet": lambda: models.AlexNet(2),
    "convnext": lambda: models.ConvNeXt([convnext.CNBlockConfig(8, 12, 1), convnext.CNBlockConfig(12, None, 1)]),
    "densenet": lambda: models.DenseNet(4, (1, 2), 8),
    "efficientnet": lambda: models.EfficientNet([efficientnet.MBConvConfig(2, 3, 2, 8, 12, 1)], 0.0, last_channel=16),
    "googlenet": lambda: models.GoogLeNet(2, aux_logits=False, init_weights=False),
    "mnasnet": lambda: models.MNASNet(0.1, 2),
    "mobilenet_v2": lambda: models.MobileNetV2(2, 0.1),
    "mobilenet_v3": lambda: models.MobileNetV3(
        [mobilenetv3.InvertedResidualConfig(8, 3, 8, 8, True, "HS", 2, 1, 1.0)], 16, 2
    ),
    "regnet": lambda: models.RegNet(regnet.BlockParams([1, 2], [8, 16], [4, 4], [1.0, 1.0], [2, 2]), 2),
    "resnet": lambda: models.ResNet(resnet.BasicBlock, [1, 1, 2, 1], 2),
    "resnet-bottleneck": lambda: models.ResNet(resnet.Bottleneck, [1, 1, 1, 1], 2),
    "shufflenet": lambda: models.ShuffleNetV2([2, 2, 2], [4, 8, 16, 32, 64], 2),
    "squeezenet": lambda: models.SqueezeNet("1_1", 2),
    "vgg": small_vgg,
    "vgg-bn": lambda: small_vgg(batch_norm=True),
}


def made(name):
    torch.manual_seed(0)
    network = FAMILIES[name]().eval()
    stages, features = cut_trunk(network)
    return network.eval(), Backbone(stages, features, UNIT, network_names(network, stages))


def given_to_the_pooling(network, pictures):
    """What the network itself takes the mean of, or, for a VGG, its fc7."""
    seen = []

    def keep(_, inputs):
        seen.append(inputs[0].clone())

    if isinstance(network, models.VGG):
        layer = network.classifier[6]
    elif isinstance(network, models.SqueezeNet):
        layer = network.classifier[1]
    elif hasattr(network, "avgpool"):
        layer = network.avgpool
    else:  # the mean is taken within forward
        layer = next(m for m in network.modules() if isinstance(m, nn.Linear))
    with torch.inference_mode(), layer.register_forward_pre_hook(keep):
        network(pictures)
    return seen[0]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_trunk_gives_what_its_network_gives_and_can_be_cut_anywhere(name):
    network, backbone = made(name)
    pictures = torch.randn(2, 3, 64, 64)
    expected = given_to_the_pooling(network, pictures)
    with torch.inference_mode():
        whole = backbone(pictures)
        assert whole.shape[1] == backbone.features
        torch.testing.assert_close(whole if expected.ndim == 4 else whole.mean((-2, -1)), expected)
        for cut in range(len(backbone.stages)):
            maps = backbone(pictures, stop=cut)
            assert maps.ndim == 4
            before = maps.clone()
            torch.testing.assert_close(backbone(maps, start=cut), whole)
            assert torch.equal(maps, before), "a stage changed what it was given, from which regions are still cropped"


@pytest.mark.parametrize("name", FAMILIES)
def test_a_trunk_knows_its_tensors_by_the_names_of_its_network(name):
    network, backbone = made(name)
    state = network.state_dict()
    assert backbone.names.keys() == backbone.state_dict().keys()
    assert all(
        backbone.state_dict()[own].data_ptr() == state[other].data_ptr() for own, other in backbone.names.items()
    )


def test_a_vgg_takes_pictures_of_any_size():
    _, backbone = made("vgg")
    with torch.inference_mode():
        for side in (24, 56, 100):
            assert backbone(torch.randn(2, 3, side, side)).shape == (2, 24, 1, 1)


SHAPES = {
    "mobilenetv1-face": (14, 1024, VGGFACE2_CAFFE),
    "resnet29-face": (15, 256, DLIB),
    "resnet18-face": (9, 512, UNIT),
    "vgg16-face": (14, 4096, VGGFACE),
    "resnet18": (9, 512, IMAGENET),
    "resnet34": (17, 512, IMAGENET),
    "resnet50": (17, 2048, IMAGENET),
    "vgg16": (14, 4096, IMAGENET),
    "mobilenet_v3_small": (13, 576, IMAGENET),
    "torchvision:efficientnet_b0": (9, 1280, IMAGENET),
    "inception_v3": (16, 2048, Normalisation((127.5,) * 3, (127.5,) * 3)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_backbones_by_name(name):
    stages, features, normalisation = SHAPES[name]
    with torch.device("meta"):  # shapes only
        backbone = build_backbone(name)
        assert backbone(torch.empty(2, 3, 96, 96)).shape[:2] == (2, features)
    assert (len(backbone.stages), backbone.features, backbone.normalisation) == (stages, features, normalisation)


def test_dlibs_pictures_are_normalised_as_dlib_does():
    """dlib's input_rgb_image_sized: values minus the mean, over 256."""
    assert Normalisation((122.782, 117.001, 104.298), (256.0, 256.0, 256.0)) == DLIB


@pytest.mark.parametrize("side", [16, 17, 47, 48, 71, 96, 107, 150])
def test_dlibs_network_takes_pictures_of_any_size(side):
    with torch.inference_mode():
        maps = build_backbone("resnet29-face").eval()(torch.randn(1, 3, side, side))
    assert maps.isfinite().all()
    assert maps.shape[-1] == maps.shape[-2] >= 1


def test_weights_of_torchvision_that_expect_another_scale():
    assert imagenet_normalisation("efficientnet_v2_l") == ((0.5,) * 3, (0.5,) * 3)


def test_every_name_is_tried():
    assert set(SHAPES) >= set(BACKBONES)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "resnet19",
            "unknown backbone 'resnet19'; known: mobilenetv1-face, .* and convolutional networks of torchvision",
        ),
        ("torchvision:mobilenetv1-face", "unknown backbone 'mobilenetv1-face'"),
        ("maskrcnn_resnet50_fpn", "unknown backbone"),
        ("vit_b_16", "VisionTransformer has no row of feature maps"),
        ("swin_t", "SwinTransformer has no row of feature maps"),
    ],
)
def test_what_is_no_backbone_is_refused(name, message):
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        build_backbone(name)


def test_an_unknown_family_has_no_trunk():
    with pytest.raises(TrunkError, match="Linear has no row of feature maps"):
        cut_trunk(nn.Linear(2, 2))


@pytest.mark.parametrize("cut", [0, 1, 5])
def test_the_mobilenet_can_be_cut_anywhere(cut):
    torch.manual_seed(0)
    backbone = mobilenetv1_face().eval()
    pictures = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(backbone(backbone(pictures, stop=cut), start=cut), backbone(pictures))


@pytest.fixture(scope="module")
def face():
    return np.ascontiguousarray(data.astronaut()[60:172, 174:286])


def test_colour_planes_are_the_picture(face):
    planes = Preprocessing(VGGFACE2_CAFFE, grey=False).planes(torch.from_numpy(face)[None])
    np.testing.assert_array_equal(planes[0], face.transpose(2, 0, 1))


def test_grey_planes_agree_with_pillow(face):
    planes = Preprocessing(VGGFACE2_CAFFE, grey=True).planes(torch.from_numpy(face)[None])
    assert planes.shape == (1, 1, 112, 112)
    luma = np.asarray(Image.fromarray(face).convert("L"), np.float32)  # Pillow rounds to whole numbers
    assert np.abs(planes[0, 0].numpy() - luma).max() <= 0.51


def test_normalisation_in_the_order_the_backbone_expects():
    red = torch.zeros(1, 1, 1, 3, dtype=torch.uint8)
    red[..., 0] = 200
    rgb = Preprocessing(Normalisation((100.0, 10.0, 1.0), (50.0, 5.0, 1.0)), grey=False)
    bgr = Preprocessing(Normalisation((1.0, 10.0, 100.0), (1.0, 5.0, 50.0), "bgr"), grey=False)
    assert rgb(rgb.planes(red)).flatten().tolist() == [2.0, -2.0, -1.0]
    assert bgr(bgr.planes(red)).flatten().tolist() == [-1.0, -2.0, 2.0]


def test_grey_is_given_to_all_three_channels(face):
    preprocessing = Preprocessing(Normalisation((0.0,) * 3, (1.0,) * 3), grey=True)
    planes = preprocessing.planes(torch.from_numpy(face)[None])
    torch.testing.assert_close(preprocessing(planes), planes.repeat(1, 3, 1, 1))
