"""Which files belong together, from directories and from archives."""

from __future__ import annotations

import io
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest

from gateway.certs.blocks import MAX_BYTES
from gateway.cli.bundles import UNREADABLE, Collection

if TYPE_CHECKING:
    from pathlib import Path

FILES = {
    "a.pem": "bundle a",
    "b.crt": "certificate b",
    "b.key": "key b",
    "sub/b.crt": "another certificate b",
    "sub/b.key": "another key b",
    "live/c.test/privkey.pem": "key c",
    "live/c.test/fullchain.pem": "chain c",
    "README.md": "left alone",
    ".hidden/d.pem": "left alone",
    "._a.pem": "left alone",
}
BUNDLES = {
    "a.pem": "bundle a",
    "b.crt": "certificate b\nkey b",
    "live/c.test/fullchain.pem": "chain c\nkey c",
    "sub/b.crt": "another certificate b\nanother key b",
}


def directory(at: Path) -> Path:
    for name, text in FILES.items():
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).write_text(text)
    return at


def tar(at: Path, mode: str = "w:gz", names: list[str] | None = None) -> Path:
    with tarfile.open(at / "certs.tar.gz", mode) as archive:
        for name in names or FILES:
            entry = tarfile.TarInfo(name)
            entry.size = len(FILES[name])
            archive.addfile(entry, io.BytesIO(FILES[name].encode()))
    return at / "certs.tar.gz"


def zipped(at: Path) -> Path:
    with zipfile.ZipFile(at / "certs.zip", "w") as archive:
        for name, text in FILES.items():
            archive.writestr(name, text)
    return at / "certs.zip"


@pytest.mark.parametrize(
    "make", [directory, tar, lambda at: tar(at, "w"), lambda at: tar(at, names=[*FILES][::-1]), zipped]
)
def test_what_belongs_together_is_found_everywhere(make, tmp_path: Path) -> None:
    path = make(tmp_path)
    collection = Collection(path)
    found = {bundle.place: bundle.pem.decode() for bundle in collection.bundles()}
    assert found == {f"{path}/{name}": text for name, text in BUNDLES.items()}
    assert len(collection) == len(BUNDLES)


def test_a_name_that_is_twice_in_an_archive_counts_once(tmp_path: Path) -> None:
    collection = Collection(tar(tmp_path, names=["b.crt", "b.crt", "b.key", "b.key"]))
    assert len(collection) == len(list(collection.bundles())) == 1


def test_no_more_of_a_file_is_read_than_a_certificate_may_have(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.pem", b"\0" * (5 * MAX_BYTES))
    (bundle,) = Collection(tmp_path / "bomb.zip").bundles()
    assert len(bundle.pem) == MAX_BYTES + 1


def test_nothing_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "certs.zip", "w") as archive:
        archive.writestr("/a.pem", "text")
        archive.writestr("../b.pem", "left alone")
    assert [bundle.pem for bundle in Collection(tmp_path / "certs.zip").bundles()] == [b"text"]
    assert [*tmp_path.iterdir()] == [tmp_path / "certs.zip"]


@pytest.mark.parametrize("damage", ["missing", "no archive", "cut"])
def test_what_is_no_archive_is_told(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "certs.tar.gz"
    if damage == "cut":
        whole = tar(tmp_path).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "no archive":
        path.write_text("certificates")
    with pytest.raises(UNREADABLE):
        list(Collection(path).bundles())
