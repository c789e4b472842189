"""Generated and published data, the latter from small files in the real formats."""

import functools
import gzip
import hashlib
import http.server
import io
import struct
import tarfile
import threading

import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.tasks import datasets, published, textures

RANDOM = np.random.default_rng(0)


def test_textures_are_the_same_for_ever():
    images, labels = textures.generate(600, 0)
    assert images.shape == (600, 32, 32, 3)
    assert images.dtype == np.uint8
    digest = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    assert digest[:16] == "8680f51945fb146d"


def test_a_smaller_set_of_textures_begins_a_larger_one():
    data = datasets.load("textures", num_examples=30, seed=4)
    images, labels = textures.generate(510, 4)
    np.testing.assert_array_equal(data.images, images[:30])
    np.testing.assert_array_equal(data.labels, labels[:30])
    assert data.images.dtype == jnp.uint8
    assert (images[:500].mean(axis=(1, 2, 3)) != images[0].mean()).sum() == 499
    other, _ = textures.generate(30, 5)
    assert (np.asarray(data.images) != other).mean() > 0.9


def test_smaller_textures_are_means_of_larger_ones():
    images = np.asarray(datasets.load("textures", num_examples=20).images, np.float64)
    smaller = datasets.load("textures", num_examples=20, downscale=4).images
    assert smaller.shape == (20, 8, 8, 3)
    assert smaller.dtype == jnp.uint8
    corner = images[:, 4:8, 8:12].mean(axis=(1, 2))
    np.testing.assert_allclose(smaller[:, 1, 2], corner, atol=0.501)
    with pytest.raises(ValueError, match="downscale: expected a divisor of 32; got 3"):
        datasets.load("textures", num_examples=20, downscale=3)


def test_the_shape_of_a_texture_is_its_class_and_its_colour_is_not():
    images, labels = textures.generate(3_000, 0)
    assert np.bincount(labels, minlength=10).min() > 240  # of about 300
    colour = images.mean(axis=(1, 2)) / 255
    spread = np.stack([colour[labels == c].mean(axis=0) for c in range(10)]).std(axis=0)
    assert (spread < 0.3 * colour.std(axis=0)).all()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(published.FOLDER_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "cache"


@pytest.fixture
def serve(tmp_path, monkeypatch, cache):
    """Publishes {name: bytes} on this machine, with their checksums in the table."""
    folder = tmp_path / "server"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"

    def publish(files):
        table = {}
        for name, content in files.items():
            (folder / name).write_bytes(content)
            table[name] = published.File(url, hashlib.sha256(content).hexdigest())
        monkeypatch.setattr(published, "FILES", published.FILES | table)
        return folder

    yield publish
    server.shutdown()
    server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape)
    return gzip.compress(header + array.tobytes())


def draw_mnist():
    sizes = {"train": 7, "t10k": 3}
    arrays = {
        part: (draw(256, (n, 28, 28)), draw(10, (n,))) for part, n in sizes.items()
    }
    files = {}
    for part, (images, labels) in arrays.items():
        files[f"{part}-images-idx3-ubyte.gz"] = idx(images)
        files[f"{part}-labels-idx1-ubyte.gz"] = idx(labels)
    return arrays, files


def draw(bound, shape):
    return RANDOM.integers(0, bound, shape, dtype=np.uint8)


def test_mnist_is_fetched_once_and_keeps_its_test_set(serve, cache):
    arrays, files = draw_mnist()
    folder = serve(files)
    data = datasets.load("mnist")
    assert data.images.dtype == jnp.uint8
    assert data.labels.dtype == jnp.int32
    want = np.concatenate([arrays["train"][0], arrays["t10k"][0]])
    np.testing.assert_array_equal(data.images[..., 0], want)
    want = np.concatenate([arrays["train"][1], arrays["t10k"][1]])
    np.testing.assert_array_equal(data.labels, want)

    training, held_out = datasets.split(data, 2)
    pictures = lambda images: {bytes(image) for image in np.asarray(images)}
    assert pictures(training.images) == pictures(arrays["train"][0])
    assert pictures(held_out.images) < pictures(arrays["t10k"][0])
    assert len(held_out.labels) == 2
    with pytest.raises(ValueError, match="num_held_out: expected 1 to 3"):
        datasets.split(data, 4)

    for name in files:
        (folder / name).unlink()
        assert (cache / name).exists()
    np.testing.assert_array_equal(datasets.mnist().images, data.images)


def cifar(records, folder):
    """A tar.gz of {name: [N, bytes]}."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, array in records.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = array.size
            tar.addfile(member, io.BytesIO(array.tobytes()))
    return buffer.getvalue()


def test_cifar10_is_read_channel_by_channel(serve):
    names = [f"data_batch_{part}.bin" for part in (1, 2, 3, 4, 5)] + ["test_batch.bin"]
    records = {name: draw(10, (2, 1 + 3072)) for name in names}
    serve({"cifar-10-binary.tar.gz": cifar(records, "cifar-10-batches-bin")})
    data = datasets.load("cifar10")
    assert data.images.shape == (12, 32, 32, 3)
    assert (data.num_classes, data.num_test) == (10, 2)
    record = records["data_batch_2.bin"][1]  # the fourth image
    assert data.labels[3] == record[0]
    for row, column, channel in ((0, 0, 0), (3, 17, 2), (31, 30, 1)):
        byte = record[1 + channel * 1024 + row * 32 + column]
        assert data.images[3, row, column, channel] == byte
    assert data.labels[-1] == records["test_batch.bin"][1, 0]


def test_cifar100_has_classes_and_superclasses(serve):
    records = {name: draw(20, (3, 2 + 3072)) for name in ("train.bin", "test.bin")}
    serve({"cifar-100-binary.tar.gz": cifar(records, "cifar-100-binary")})
    fine, coarse = datasets.load("cifar100"), datasets.load("cifar100", labels="coarse")
    assert (fine.num_classes, coarse.num_classes) == (100, 20)
    every = np.concatenate(list(records.values()))
    np.testing.assert_array_equal(coarse.labels, every[:, 0])
    np.testing.assert_array_equal(fine.labels, every[:, 1])
    assert fine.images[0, 0, 1, 0] == every[0, 3]
    with pytest.raises(ValueError, match="labels: expected one of fine, coarse"):
        datasets.load("cifar100", labels="fin")


def test_a_file_of_another_checksum_is_never_used(serve, cache):
    _, files = draw_mnist()
    folder = serve(files)
    name = "train-images-idx3-ubyte.gz"
    (folder / name).write_bytes(files[name][:-1] + b"x")  # damaged on the way
    with pytest.raises(
        ValueError, match=r"is not there, and could not be fetched.*http"
    ):
        datasets.load("mnist")
    assert not (cache / name).exists()
    cache.mkdir(exist_ok=True)
    (cache / name).write_bytes(b"damaged here")
    with pytest.raises(ValueError, match=r"is not the published file \(its SHA-256"):
        datasets.load("mnist")
    (folder / name).write_bytes(files[name])
    assert len(datasets.load("mnist").labels) == 10  # fetched again, in its place


def test_offline_the_error_names_the_way_out(cache, monkeypatch):
    table = {
        name: published.File("http://127.0.0.1:9/", "0") for name in published.FILES
    }
    monkeypatch.setattr(published, "FILES", table)
    for name in ("mnist", "cifar10", "cifar100"):
        with pytest.raises(ValueError, match="digits, textures") as caught:
            datasets.load(name)
        message = str(caught.value)
        assert message.startswith(str(cache))
        assert message.index("by hand") < message.index("Connection")
        assert len(message) < len(str(cache)) + 450
        assert published.FOLDER_VARIABLE in str(caught.value)


def test_a_file_put_there_by_hand_needs_no_network(cache, monkeypatch):
    _, files = draw_mnist()
    cache.mkdir()
    table = {}
    for name, content in files.items():
        (cache / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        table[name] = published.File("http://127.0.0.1:9/", digest)
    monkeypatch.setattr(published, "FILES", table)
    assert datasets.load("mnist").images.shape == (10, 28, 28, 1)


def test_the_folder_may_be_at_home_and_hold_no_folder_in_a_files_place(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(published.FOLDER_VARIABLE, "~/data")
    wrong = tmp_path / "data" / "cifar-10-binary.tar.gz"
    wrong.mkdir(parents=True)
    with pytest.raises(ValueError, match="got a folder of that name") as caught:
        datasets.load("cifar10")
    assert str(caught.value).startswith(str(wrong))


def test_a_balanced_set_has_the_first_of_each_class():
    labels = jnp.array([0, 0, 0, 1, 2, 1, 2, 2, 1, 0])
    data = datasets.Dataset(jnp.arange(10)[:, None, None, None], labels, 3)
    got = datasets.balanced(data, 6)
    np.testing.assert_array_equal(got.images.ravel(), [0, 1, 3, 4, 5, 6])
    for wrong in (7, 12):
        with pytest.raises(ValueError, match="3 times 1 to 3, as many of each class"):
            datasets.balanced(data, wrong)
