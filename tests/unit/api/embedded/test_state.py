# SPDX-License-Identifier: Apache-2.0
"""The data folder: marker, lock, memory, secrets, removal."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.embedded import reset_data_folder
from api.embedded.state import DataFolder, write_file
from api.embedded.texts import DataFolderInUse, DataFolderUnusable
from api.settings import Settings


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    folder = DataFolder(tmp_path / "data")
    folder.open()
    return folder


def test_opening_twice_keeps_what_was_remembered(folder: DataFolder) -> None:
    folder.remember(mqtt_port=1884)
    folder.open()
    assert folder.recall()["mqtt_port"] == 1884


def test_a_folder_of_another_format_is_refused(folder: DataFolder) -> None:
    folder.remember(format=2)
    with pytest.raises(DataFolderUnusable, match="another version"):
        folder.open()


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(DataFolderUnusable, match="cannot be used"):
        DataFolder(tmp_path / "data").open()


def test_one_hub_at_a_time(folder: DataFolder) -> None:
    with folder.locked(), pytest.raises(DataFolderInUse, match=r"別の Minamo が動いています"), folder.locked():
        pass


def test_the_lock_is_free_again_afterwards(folder: DataFolder) -> None:
    with folder.locked():
        pass
    with folder.locked():
        pass


def test_secrets_stay_the_same_and_are_closed_to_others(folder: DataFolder) -> None:
    assert folder.secret("mqtt") == folder.secret("mqtt") != folder.secret("other")
    assert (folder.path / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write_file(target, b"old", 0o600)
    write_file(target, b"new", 0o640)
    assert target.read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert target.stat().st_mode & 0o777 == 0o640


def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("precious")
    (tmp_path / "file").symlink_to(tmp_path / "elsewhere")
    write_file(tmp_path / "file", b"new", 0o600)
    assert (tmp_path / "elsewhere").read_text() == "precious"


async def test_reset_removes_only_what_is_ours(folder: DataFolder) -> None:
    (folder.postgres / "data").mkdir(parents=True)
    (folder.path / "holiday.jpg").write_text("precious")
    assert await reset_data_folder(Settings(data_dir=folder.path))
    assert [path.name for path in folder.path.iterdir()] == ["holiday.jpg"]


async def test_reset_removes_the_folder_when_nothing_else_is_in_it(folder: DataFolder) -> None:
    assert await reset_data_folder(Settings(data_dir=folder.path))
    assert not folder.path.exists()


async def test_reset_refuses_a_folder_that_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    with pytest.raises(DataFolderUnusable, match="nothing is removed"):
        await reset_data_folder(Settings(data_dir=tmp_path))
    assert (tmp_path / "postgres").exists()


async def test_reset_refuses_while_a_hub_runs(folder: DataFolder) -> None:
    with folder.locked(), pytest.raises(DataFolderInUse):
        await reset_data_folder(Settings(data_dir=folder.path))


async def test_reset_of_nothing_does_nothing(tmp_path: Path) -> None:
    assert not await reset_data_folder(Settings(data_dir=tmp_path / "nowhere"))
