"""Lists, shards and videos in a bucket, of a server on the loopback address that speaks S3."""

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny

from morphmlp.data.media import remote_cache
from morphmlp.data.media.remote import RemoteFile, local_path
from morphmlp.data.sets.read import read_training_sets
from morphmlp.errors import MediaError

# The first starts moto and boto, which takes seconds; the warnings are theirs, of dates and unclosed sockets.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        running = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
        running.start()
        host, port = running.get_host_and_port()
        try:
            yield f"http://{host}:{port}"
        finally:
            running.stop()


@pytest.fixture
def bucket(server: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A bucket with a list of four videos of two classes, by the variables that users set."""
    variables = {"AWS_ENDPOINT_URL": server, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    variables |= {"AWS_DEFAULT_REGION": "us-east-1", "MORPHMLP_CACHE": str(tmp_path / "cache")}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(remote_cache, "_known", {})
    import boto3
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    client = boto3.client("s3")
    client.create_bucket(Bucket="videos")
    rows = []
    for name in ("closing_something", "moving_up"):
        for video in sorted((data / "train" / name).iterdir()):
            client.put_object(Bucket="videos", Key=f"clips/{name}-{video.name}", Body=video.read_bytes())
            rows.append(f"clips/{name}-{video.name},{name}\n")
    client.put_object(Bucket="videos", Key="all.csv", Body="".join(rows).encode())
    return client


def test_a_list_in_a_bucket_and_its_videos(bucket: Any, checkpoint: Path, tmp_path: Path):
    train, val = read_training_sets("s3://videos/all.csv")
    assert (len(train.samples), len(val.samples)) == (2, 2)
    source = train.samples[0].path
    assert isinstance(source, RemoteFile)
    assert str(source).startswith("s3://videos/clips/closing_something-")
    result = tiny.run_command("predict", checkpoint, str(source), "--json", "--workers", 0)
    assert result.returncode == 0, result.stderr
    assert str(source) in result.stdout


def test_shards_of_a_folder_in_a_bucket_are_found(bucket: Any):
    from morphmlp.data.sets.at_address import _shards_in

    for name in ("train-0000.tar", "train-0001.tar", "notes.txt"):
        bucket.put_object(Bucket="videos", Key=f"shards/{name}", Body=b"")
    assert [str(shard) for shard in _shards_in("s3://videos/shards")] == [
        "s3://videos/shards/train-0000.tar",
        "s3://videos/shards/train-0001.tar",
    ]


def test_what_is_not_in_a_bucket(bucket: Any, monkeypatch: pytest.MonkeyPatch):
    for address in ("s3://videos/none.mp4", "s3://nobody/none.mp4"):
        with pytest.raises(MediaError) as caught:
            local_path(address)
        assert str(caught.value) == f"{address}: there is no such file; is the address right?"


def test_an_object_that_changed_is_fetched_again(bucket: Any, monkeypatch: pytest.MonkeyPatch):
    bucket.put_object(Bucket="videos", Key="x.bin", Body=b"one")
    assert local_path("s3://videos/x.bin").read_bytes() == b"one"
    bucket.put_object(Bucket="videos", Key="x.bin", Body=b"two")
    now = remote_cache.time.time
    monkeypatch.setattr(remote_cache.time, "time", lambda: now() + 4_000)
    assert local_path("s3://videos/x.bin").read_bytes() == b"two"


def test_a_host_that_is_down_or_no_credentials(bucket: Any, monkeypatch: pytest.MonkeyPatch):
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(MediaError, match="the host cannot be reached; is the address right, and the network up"):
        local_path("s3://videos/y.bin")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(MediaError, match="there are no credentials for s3://; set those of the provider"):
        local_path("s3://videos/y.bin")
