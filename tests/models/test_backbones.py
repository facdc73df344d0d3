import numpy as np
import pytest
from PIL import Image
from skimage import data

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")

from regionfer.models.backbones import BACKBONES, VGGFACE2_CAFFE, Normalisation, Preprocessing, resnet18  # noqa: E402


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("cut", [0, 1, 5])
def test_a_backbone_can_be_cut_anywhere(name, cut):
    torch.manual_seed(0)
    backbone = BACKBONES[name]().eval()
    pictures = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        whole = backbone(pictures)
        assert whole.shape[:2] == (2, backbone.features)
        torch.testing.assert_close(backbone(backbone(pictures, stop=cut), start=cut), whole)


def test_resnet18_gives_the_features_of_torchvision():
    torch.manual_seed(0)
    reference = torchvision.models.resnet18().eval()
    backbone = resnet18().eval()
    values = [v for k, v in reference.state_dict().items() if not k.startswith("fc.")]
    backbone.load_state_dict(dict(zip(backbone.state_dict(), values, strict=True)))
    reference.fc = torch.nn.Identity()
    pictures = torch.randn(2, 3, 96, 96)
    with torch.inference_mode():
        torch.testing.assert_close(backbone(pictures).mean((-2, -1)), reference(pictures))


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
