"""Labelled images, and noise inputs that are made from a key and never stored."""

import gzip
import hashlib
import math
import shutil
import urllib.request
import zlib
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import threefry_2x32
from jaxtyping import Array, Float, Float32, Int, Int32, Key

from subliminal_toy.errors import UserError

IDX_FILES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
N_CLASSES = 10
SECONDS_TO_ANSWER = 8.0


class Dataset(NamedTuple):
    """Images in [−1, 1] and their classes 0–9.

    ``name`` is what records and figures show; it says if the files are not the published ones.
    """

    name: str
    train_images: Float32[np.ndarray, "train height width"]
    train_labels: Int32[np.ndarray, " train"]
    test_images: Float32[np.ndarray, "test height width"]
    test_labels: Int32[np.ndarray, " test"]

    @property
    def image_shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.train_images.shape[1], self.train_images.shape[2]

    def sha256(self) -> str:
        """Return the SHA-256 of all four arrays, which records keep."""
        digest = hashlib.sha256()
        for array in self[1:]:
            digest.update(array.tobytes())
        return digest.hexdigest()


def load(name: str, data_dir: Path | None = None) -> Dataset:
    """Load a data set by name.

    ``digits`` is scikit-learn's; ``mnist``, ``fashion_mnist`` and ``kmnist`` come from the four IDX
    files in ``data_dir`` (gzipped or not), or else through tensorflow-datasets, whose SHA-256 they
    must have then. Raises UserError if the name is unknown, a file is missing, damaged or not the
    published one, or a download fails.
    """
    if name == "digits":
        return _digits()
    if name not in ("mnist", "fashion_mnist", "kmnist"):
        raise UserError(
            f"There is no data set '{name}': choose digits, mnist, fashion_mnist or kmnist."
        )
    if data_dir is not None:
        return _from_idx(name, data_dir)
    folder = _download(name)
    loaded = _from_idx(name, folder)
    if loaded.name != name:
        raise UserError(
            f"The files in {folder} are not those that were published: delete it and run again."
        )
    return loaded


def _digits() -> Dataset:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch: Any = load_digits()
    images = (bunch.images / 8.0 - 1.0).astype(np.float32)
    labels = bunch.target.astype(np.int32)
    split: Any = train_test_split(images, labels, test_size=360, stratify=labels, random_state=0)
    train_images, test_images, train_labels, test_labels = split
    return Dataset("digits", train_images, train_labels, test_images, test_labels)


def _from_idx(name: str, directory: Path) -> Dataset:
    tfds: Any = import_module("tensorflow_datasets")  # takes a second
    infos = tfds.builder_cls(name).url_infos
    published = {Path(url).name: info.checksum for url, info in infos.items()}
    raw, verified = {}, True
    for field, stem in IDX_FILES.items():
        path = _find(directory, stem)
        content = path.read_bytes()
        verified &= hashlib.sha256(content).hexdigest() == published.get(path.name)
        raw[field] = _parse_idx(path, content, ndim=3 if "images" in field else 1)
    for split in ("train", "test"):
        images, labels = raw[f"{split}_images"], raw[f"{split}_labels"]
        where = directory / IDX_FILES[f"{split}_labels"]
        if len(images) != len(labels):
            raise UserError(f"{where} has {len(labels)} labels for {len(images)} images.")
        if labels.max() >= N_CLASSES:
            raise UserError(f"{where} has a label above 9.")
    if raw["train_images"].shape[1:] != raw["test_images"].shape[1:]:
        raise UserError(f"Training and test images in {directory} differ in size.")
    scaled = {
        field: a / np.float32(127.5) - 1 if "images" in field else a.astype(np.int32)
        for field, a in raw.items()
    }
    return Dataset(name=name if verified else f"{name} (not the published files)", **scaled)


def _find(directory: Path, stem: str) -> Path:
    if not directory.is_dir():
        raise UserError(f"--data-dir {directory} is not a directory.")
    for path in (directory / f"{stem}.gz", directory / stem):
        if path.is_file():
            return path
    raise UserError(
        f"{directory / stem}.gz is missing: --data-dir must hold the four IDX files "
        f"{', '.join(IDX_FILES.values())} (with or without .gz)."
    )


def _parse_idx(path: Path, content: bytes, ndim: int) -> np.ndarray:
    """Return the unsigned bytes of an IDX file: magic 0 0 8 ndim, big-endian sizes, data."""
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{path} is damaged or truncated (not a whole gzip file).") from error
    header = 4 + 4 * ndim
    if len(content) < header:
        raise UserError(f"{path} is truncated: its header is not whole.")
    if content[:4] != bytes((0, 0, 8, ndim)):
        raise UserError(f"{path} is not an IDX file of {ndim}-dimensional bytes (wrong magic).")
    shape = np.frombuffer(content, ">u4", ndim, offset=4).tolist()  # numbers that do not overflow
    if len(content) - header != math.prod(shape) or not all(shape):
        raise UserError(
            f"{path} is damaged or truncated: {len(content) - header} bytes of data "
            f"where its header says {'×'.join(map(str, shape))}."
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _download(name: str) -> Path:
    """Return the folder of the four downloaded files; the network is used the first time only."""
    tfds: Any = import_module("tensorflow_datasets")
    folder = Path(tfds.core.constants.DATA_DIR).expanduser() / "subliminal_toy" / name
    if all((folder / f"{stem}.gz").is_file() for stem in IDX_FILES.values()):
        return folder
    builder = tfds.builder_cls(name)
    urls = {stem: f"{builder.URL}{stem}.gz" for stem in IDX_FILES.values()}
    # tensorflow-datasets alone would try for minutes before it gave up.
    try:
        request = urllib.request.Request(next(iter(urls.values())), method="HEAD")
        urllib.request.urlopen(request, timeout=SECONDS_TO_ANSWER).close()
    except OSError as error:
        raise UserError(
            f"The data set '{name}' cannot be downloaded (no network): give the folder of its "
            "IDX files with --data-dir, or use the embedded --data digits."
        ) from error
    manager = tfds.download.DownloadManager(
        download_dir=folder / "downloads", url_infos=builder.url_infos, dataset_name=name
    )
    try:
        paths = manager.download(urls)
    except Exception as error:  # whatever its transport raises
        raise UserError(
            f"The download of '{name}' failed ({type(error).__name__}): try again, "
            "or give the folder of its IDX files with --data-dir."
        ) from error
    for stem, path in paths.items():
        shutil.move(path, folder / f"{stem}.gz")
    return folder


def uniform_noise(
    key: Key[Array, ""], index: Int[Array, " batch"], image_shape: tuple[int, int]
) -> Float[Array, "batch height width"]:
    """Return images number ``index`` of the noise set of ``key``: pixels U[−1, 1], float32.

    Each image has its own key, so any batch can be made again in any order. Pixels take 65,536
    equally spaced values, symmetric about 0; one random 32-bit word gives two pixels. ``key`` must
    be a threefry key: ``jax.random.bits`` gives the same 16 bits at twice the cost.
    """
    n_pixels = math.prod(image_shape)
    words = jnp.arange(-(-n_pixels // 2), dtype=jnp.uint32)

    def image(i):
        bits = threefry_2x32(jax.random.key_data(jax.random.fold_in(key, i)), words)
        levels = jax.lax.bitcast_convert_type(bits, jnp.uint16).reshape(-1)[:n_pixels]
        return (levels.astype(jnp.float32) * 2**-15 - (1 - 2**-16)).reshape(image_shape)

    return jax.vmap(image)(index)
