"""The data sets of the field, known by name: where CoOp's layout has their parts, their sizes, and where to get them.

Facts alone; what reads them is in `layouts`. Names are those of CoOp's own configs; sizes are those of its splits, so
that a check can say at once what is not there.
"""

from dataclasses import dataclass

PHOTO = "a photo of a {}."
# Split files and classnames.txt are no part of the data sets: they come with CoOp's own description of its layout.
COOP_PAGE = "https://github.com/KaiyangZhou/CoOp/blob/main/DATASETS.md"


@dataclass(frozen=True, kw_only=True)
class KnownDataSet:
    """One data set.

    Attributes:
        name, title: as configs and as people call it.
        reader: which of `layouts.READERS` reads it.
        folder: its folder's name in CoOp's layout.
        images, split, template: what these keys of a config stand for where they are not given.
        num_classes, num_train, num_val, num_test: sizes; of the test images `num_base_test` are of the base half of the
            classes, None where the halves are not used.
        source: where the images are usually had from.
        remark: what is easily missed.
    """

    name: str
    title: str
    reader: str = "split_json"
    folder: str
    images: str
    split: str
    template: str = PHOTO
    num_classes: int
    num_train: int = 0
    num_val: int = 0
    num_test: int
    num_base_test: int | None = None
    source: str
    remark: str = ""


_ENTRIES = (
    KnownDataSet(
        name="imagenet",
        title="ImageNet",
        reader="imagenet",
        folder="imagenet",
        images="images",
        split="classnames.txt",
        num_classes=1000,
        num_train=1_281_167,
        num_val=50_000,
        num_test=50_000,
        num_base_test=25_000,
        source="https://image-net.org: training and validation images of ILSVRC 2012, as images/train, images/val",
        remark="the validation images are the test split",
    ),
    KnownDataSet(
        name="caltech101",
        title="Caltech101",
        folder="caltech-101",
        images="101_ObjectCategories",
        split="split_zhou_Caltech101.json",
        num_classes=100,
        num_train=4128,
        num_val=1649,
        num_test=2465,
        num_base_test=1549,
        source="https://data.caltech.edu/records/mzrjq-6wc02: 101_ObjectCategories",
        remark="two of the folders are no class, and four classes are renamed: the split file says so",
    ),
    KnownDataSet(
        name="oxford_pets",
        title="OxfordPets",
        folder="oxford_pets",
        images="images",
        split="split_zhou_OxfordPets.json",
        template="a photo of a {}, a type of pet.",
        num_classes=37,
        num_train=2944,
        num_val=736,
        num_test=3669,
        num_base_test=1881,
        source="https://www.robots.ox.ac.uk/~vgg/data/pets/: images.tar.gz",
    ),
    KnownDataSet(
        name="stanford_cars",
        title="StanfordCars",
        folder="stanford_cars",
        images=".",
        split="split_zhou_StanfordCars.json",
        num_classes=196,
        num_train=6509,
        num_val=1635,
        num_test=8041,
        num_base_test=4002,
        source="https://ai.stanford.edu/~jkrause/cars/car_dataset.html or a mirror: cars_train, cars_test",
        remark="cars_train and cars_test lie in the data set's folder itself",
    ),
    KnownDataSet(
        name="oxford_flowers",
        title="Flowers102",
        folder="oxford_flowers",
        images="jpg",
        split="split_zhou_OxfordFlowers.json",
        template="a photo of a {}, a type of flower.",
        num_classes=102,
        num_train=4093,
        num_val=1633,
        num_test=2463,
        num_base_test=1053,
        source="https://www.robots.ox.ac.uk/~vgg/data/flowers/102/: 102flowers.tgz",
    ),
    KnownDataSet(
        name="food101",
        title="Food101",
        folder="food-101",
        images="images",
        split="split_zhou_Food101.json",
        template="a photo of {}, a type of food.",
        num_classes=101,
        num_train=50_500,
        num_val=20_200,
        num_test=30_300,
        num_base_test=15_300,
        source="https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/: food-101.tar.gz",
    ),
    KnownDataSet(
        name="fgvc_aircraft",
        title="FGVCAircraft",
        reader="fgvc",
        folder="fgvc_aircraft",
        images="images",
        split="variants.txt",
        template="a photo of a {}, a type of aircraft.",
        num_classes=100,
        num_train=3334,
        num_val=3333,
        num_test=3333,
        num_base_test=1666,
        source="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/: the folder data of fgvc-aircraft-2013b.tar.gz",
        remark="no split file: its own lists beside variants.txt",
    ),
    KnownDataSet(
        name="sun397",
        title="SUN397",
        folder="sun397",
        images="SUN397",
        split="split_zhou_SUN397.json",
        num_classes=397,
        num_train=15_880,
        num_val=3970,
        num_test=19_850,
        num_base_test=9950,
        source="https://vision.princeton.edu/projects/2010/SUN/: SUN397.tar.gz",
    ),
    KnownDataSet(
        name="dtd",
        title="DTD",
        folder="dtd",
        images="images",
        split="split_zhou_DescribableTextures.json",
        template="{} texture.",
        num_classes=47,
        num_train=2820,
        num_val=1128,
        num_test=1692,
        num_base_test=864,
        source="https://www.robots.ox.ac.uk/~vgg/data/dtd/: dtd-r1.0.1.tar.gz",
    ),
    KnownDataSet(
        name="eurosat",
        title="EuroSAT",
        folder="eurosat",
        images="2750",
        split="split_zhou_EuroSAT.json",
        template="a centered satellite photo of {}.",
        num_classes=10,
        num_train=13_500,
        num_val=5400,
        num_test=8100,
        num_base_test=4200,
        source="https://github.com/phelber/EuroSAT: the RGB images, EuroSAT.zip",
    ),
    KnownDataSet(
        name="ucf101",
        title="UCF101",
        folder="ucf101",
        images="UCF-101-midframes",
        split="split_zhou_UCF101.json",
        template="a photo of a person doing {}.",
        num_classes=101,
        num_train=7639,
        num_val=1898,
        num_test=3783,
        num_base_test=1934,
        source="UCF-101-midframes.zip of CoOp's page: the middle frames of https://www.crcv.ucf.edu/data/UCF101.php",
    ),
    KnownDataSet(
        name="imagenetv2",
        title="ImageNetV2",
        reader="numbered_folders",
        folder="imagenetv2",
        images="imagenetv2-matched-frequency-format-val",
        split="classnames.txt",
        num_classes=1000,
        num_test=10_000,
        source="https://github.com/modestyachts/ImageNetV2: the matched-frequency images",
        remark="test images only; folder n is line n of classnames.txt, from 0",
    ),
    KnownDataSet(
        name="imagenet_sketch",
        title="ImageNet-Sketch",
        reader="wnid_folders",
        folder="imagenet-sketch",
        images="images",
        split="classnames.txt",
        num_classes=1000,
        num_test=50_889,
        source="https://github.com/HaohanWang/ImageNet-Sketch",
        remark="test images only",
    ),
    KnownDataSet(
        name="imagenet_a",
        title="ImageNet-A",
        reader="wnid_folders",
        folder="imagenet-adversarial",
        images="imagenet-a",
        split="classnames.txt",
        num_classes=200,
        num_test=7500,
        source="https://github.com/hendrycks/natural-adv-examples",
        remark="test images only",
    ),
    KnownDataSet(
        name="imagenet_r",
        title="ImageNet-R",
        reader="wnid_folders",
        folder="imagenet-rendition",
        images="imagenet-r",
        split="classnames.txt",
        num_classes=200,
        num_test=30_000,
        source="https://github.com/hendrycks/imagenet-r",
        remark="test images only",
    ),
)
KNOWN = {entry.name: entry for entry in _ENTRIES}
# What `data.layout` may be.
LAYOUTS = ("split_json", "class_folders", *KNOWN)

# The eleven data sets of the field, in the order of its tables, and ImageNet's variants.
ELEVEN = (
    "imagenet",
    "caltech101",
    "oxford_pets",
    "stanford_cars",
    "oxford_flowers",
    "food101",
    "fgvc_aircraft",
    "sun397",
    "dtd",
    "eurosat",
    "ucf101",
)
VARIANTS = ("imagenetv2", "imagenet_sketch", "imagenet_a", "imagenet_r")
