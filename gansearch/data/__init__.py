"""Data sets: each one becomes a single array and its labels, whatever it was on disk.

A loader is a function `loader(root, split, image_size, *, <its own options>) -> ImageData | PointData`:

    root        the folder that holds all data sets; a loader looks below it and nowhere else
    split       "train" or "test"
    image_size  the size asked for, in pixels, or None for the native one; a data set that has a
                native size may ignore it, because `gansearch.data.load.load` resizes afterwards;
                None for points

Images are uint8, N x C x H x W, points float32, N x D. Of either, `data.domain` is the description that
every part is built from (`gansearch.data.domain`). A loader of points says so with `@of_points`
(`gansearch.data.points`), and a study has a point's defaults even where its data cannot be had.

It raises `DataError` where the files are missing or damaged. A data set is added by its file and
one line below; a user's own loader needs no line, only its name `package.module:function`.
`gansearch.testing.check_dataset` tells whether it keeps the contract. Importing this package
does not import torch.
"""

from __future__ import annotations

from gansearch.data.images import ImageData
from gansearch.data.points import PointData
from gansearch.study.registry import Registry

__all__ = ["DATASETS", "DataSet", "ImageData", "PointData"]

DataSet = ImageData | PointData

DATASETS: Registry[DataSet] = Registry(
    "data set",
    {
        "digits": "gansearch.data.digits:digits",
        "fashion-mnist": "gansearch.data.mnist:fashion_mnist",
        "mnist": "gansearch.data.mnist:mnist",
        "cifar10": "gansearch.data.cifar10:cifar10",
        "cifar100": "gansearch.data.cifar100:cifar100",
        "svhn": "gansearch.data.svhn:svhn",
        "stl10": "gansearch.data.stl10:stl10",
        "celeba": "gansearch.data.celeba:celeba",
        "stacked-mnist": "gansearch.data.stacked:stacked_mnist",
        "image-folder": "gansearch.data.folder:image_folder",
        "image-array": "gansearch.data.arrays:image_array",
        "ring": "gansearch.data.points:ring",
        "grid": "gansearch.data.points:grid",
        "dirac": "gansearch.data.points:dirac",
        "point-array": "gansearch.data.arrays:point_array",
    },
)
