"""Data sets, on files that the tests write, and the noise set."""

import gzip
import hashlib
import io
import shutil
import types
from pathlib import Path
from urllib.error import URLError

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from subliminal_toy import data
from subliminal_toy.errors import UserError

MNIST = Path(__file__).parents[2] / "shared" / "data" / "mnist"


def header(*shape):
    return bytes((0, 0, 8, len(shape))) + np.array(shape, ">u4").tobytes()


def idx(array):
    return header(*array.shape) + array.astype(np.uint8).tobytes()


@pytest.fixture
def files(tmp_path):
    """Four small IDX files, two of them gzipped."""
    rng = np.random.default_rng(0)
    arrays = {
        "train_images": rng.integers(0, 256, (6, 5, 4)),
        "train_labels": np.arange(6),
        "test_images": rng.integers(0, 256, (3, 5, 4)),
        "test_labels": np.arange(3) + 7,
    }
    for field, array in arrays.items():
        stem, content = data.IDX_FILES[field], idx(array)
        if "images" in field:
            (tmp_path / f"{stem}.gz").write_bytes(gzip.compress(content))
        else:
            (tmp_path / stem).write_bytes(content)
    return tmp_path, arrays


def test_idx_files_are_read_scaled_and_named_as_unpublished(files):
    directory, arrays = files
    loaded = data.load("mnist", directory)
    np.testing.assert_allclose(loaded.train_images, arrays["train_images"] / 127.5 - 1, atol=1e-6)
    np.testing.assert_array_equal(loaded.test_labels, arrays["test_labels"])
    assert loaded.image_shape == (5, 4)
    assert loaded.name == "mnist (not the published files)"


@pytest.mark.skipif(not MNIST.is_dir(), reason="the MNIST files are not beside the checkout")
def test_the_published_files_are_recognised():
    loaded = data.load("mnist", MNIST)
    assert loaded.name == "mnist"
    assert loaded.train_images.shape == (60_000, 28, 28) and len(loaded.test_labels) == 10_000


TRAIN_IMAGES, TEST_LABELS = "train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte"
IMAGES = np.zeros((6, 5, 4))
OVERFLOWING = 20_261_071, 2_516_698, 3_979_412


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        (TRAIN_IMAGES, None, "is missing"),
        (TRAIN_IMAGES, b"", "its header is not whole"),
        (TRAIN_IMAGES, b"not a gzip file", "is damaged or truncated"),
        (TRAIN_IMAGES, gzip.compress(idx(IMAGES))[:-9], "is damaged or truncated"),
        (TRAIN_IMAGES, gzip.compress(idx(IMAGES))[:12] + b"x" * 30, "is damaged or truncated"),
        (TRAIN_IMAGES, gzip.compress(idx(np.zeros(60))), "wrong magic"),
        (TRAIN_IMAGES, gzip.compress(idx(IMAGES)[:9]), "its header is not whole"),
        (TRAIN_IMAGES, gzip.compress(idx(IMAGES)[:-1]), "where its header says 6×5×4"),
        (TRAIN_IMAGES, gzip.compress(idx(IMAGES) + b"x"), "where its header says 6×5×4"),
        (TRAIN_IMAGES, gzip.compress(idx(np.zeros((0, 5, 4)))), "where its header says 0×5×4"),
        (TRAIN_IMAGES, gzip.compress(idx(np.zeros((5, 5, 4)))), "has 6 labels for 5 images"),
        (TRAIN_IMAGES, gzip.compress(idx(np.zeros((6, 4, 4)))), "differ in size"),
        # Sizes whose product is 120 in 64 bits.
        (TRAIN_IMAGES, gzip.compress(header(*OVERFLOWING) + bytes(120)), "where its header says"),
        (TEST_LABELS, idx(np.array([1, 2, 10])), "a label above 9"),
    ],
    # Not the bytes themselves: gzip writes the time into them, and processes must agree on names.
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_file_is_named_in_one_sentence(files, name, content, sentence):
    path = files[0] / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(UserError, match=sentence) as error:
        data.load("mnist", files[0])
    assert str(files[0]) in str(error.value) and "\n" not in str(error.value)


def test_unknown_names_and_folders_are_refused(tmp_path):
    with pytest.raises(UserError, match="no data set 'cifar'"):
        data.load("cifar")
    with pytest.raises(UserError, match="is not a directory"):
        data.load("mnist", tmp_path / "nowhere")


@pytest.fixture
def no_cache(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("error", [URLError("no route"), TimeoutError()])
def test_without_a_network_one_sentence_names_the_ways_out(no_cache, monkeypatch, error):
    def unreachable(request, timeout):
        raise error

    monkeypatch.setattr(data.urllib.request, "urlopen", unreachable)
    with pytest.raises(UserError, match=r"--data-dir.*--data digits"):
        data.load("fashion_mnist")


@pytest.fixture
def fake_download(files, no_cache, monkeypatch):
    """Give the tests' files for any address, with their own SHA-256; return what was asked for."""
    import tensorflow_datasets as tfds

    directory, asked, infos, real = files[0], [], {}, tfds.builder_cls
    for stem in data.IDX_FILES.values():
        packed = directory / f"{stem}.gz"
        if not packed.exists():
            packed.write_bytes(gzip.compress((directory / stem).read_bytes()))
        digest = hashlib.sha256(packed.read_bytes()).hexdigest()
        infos[stem] = types.SimpleNamespace(checksum=digest)

    def builder(name):
        of_files = {url: infos[Path(url).stem] for url in real(name).url_infos}
        return types.SimpleNamespace(URL=real(name).URL, url_infos=of_files)

    def download(self, urls):
        asked.append(urls)
        return {stem: shutil.copy(directory / f"{stem}.gz", directory / stem) for stem in urls}

    monkeypatch.setattr(tfds, "builder_cls", builder)
    monkeypatch.setattr(tfds.download.DownloadManager, "download", download)
    monkeypatch.setattr(data.urllib.request, "urlopen", lambda *_, timeout: io.BytesIO())
    return asked, infos


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist"])
def test_a_download_takes_addresses_and_checksums_from_the_builder(
    name, fake_download, no_cache, monkeypatch
):
    import tensorflow_datasets as tfds

    asked, _ = fake_download
    loaded = data.load(name)
    assert set(asked[0].values()) == set(tfds.builder_cls(name).url_infos)
    assert loaded.name == name
    # The second time the network is not asked.
    monkeypatch.setattr(data.urllib.request, "urlopen", None)
    assert data.load(name).sha256() == loaded.sha256() and len(asked) == 1
    # What has changed since is not believed.
    path = next(no_cache.rglob("t10k-labels-idx1-ubyte.gz"))
    path.write_bytes(gzip.compress(idx(np.arange(3))))
    with pytest.raises(UserError, match="not those that were published: delete it"):
        data.load(name)


def test_a_download_of_other_files_is_refused(fake_download):
    for info in fake_download[1].values():
        info.checksum = "0" * 64
    with pytest.raises(UserError, match="not those that were published"):
        data.load("mnist")


def test_a_failed_download_is_one_sentence(no_cache, monkeypatch):
    import tensorflow_datasets as tfds

    def download(self, urls):
        raise tfds.download.NonMatchingChecksumError("some url", "some path")

    monkeypatch.setattr(tfds.download.DownloadManager, "download", download)
    monkeypatch.setattr(data.urllib.request, "urlopen", lambda *_, timeout: io.BytesIO())
    with pytest.raises(UserError, match=r"download of 'mnist' failed.*--data-dir"):
        data.load("mnist")


def test_noise_is_made_again_in_any_order_and_batch():
    key = jax.random.key(0)
    whole = data.uniform_noise(key, jnp.arange(50), (4, 3))
    order = jax.random.permutation(jax.random.key(1), 50)
    again = data.uniform_noise(key, order[:20], (4, 3))
    np.testing.assert_array_equal(again, whole[order[:20]])
    assert not np.array_equal(whole, data.uniform_noise(jax.random.key(2), jnp.arange(50), (4, 3)))


def test_noise_is_uniform_and_independent():
    noise = np.asarray(data.uniform_noise(jax.random.key(0), jnp.arange(4000), (2, 2)))
    flat = noise.reshape(4000, 4)
    assert noise.dtype == np.float32 and flat.min() >= -1 and flat.max() < 1
    # Variance of U[−1, 1] is 1/3; all pixels and images uncorrelated: 5 standard errors.
    covariance = np.cov(flat.T)
    np.testing.assert_allclose(covariance, np.eye(4) / 3, atol=5 / 3 / 4000**0.5)
    neighbours = np.mean(flat[1:] * flat[:-1])
    assert abs(neighbours) < 5 / 3 / 16000**0.5
