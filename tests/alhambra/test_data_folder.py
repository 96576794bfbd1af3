import errno
import os
import stat
import subprocess
from pathlib import Path

import pytest

from alhambra.data_folder import full_disk_said, open_data_folder
from alhambra.errors import DataFolderRefused, DiskFull


def test_a_new_folder_is_made_and_its_secrets_stay_the_same_and_private(tmp_path: Path) -> None:
    with open_data_folder(tmp_path / "data") as folder:
        first = folder.secrets()
    with open_data_folder(tmp_path / "data") as folder:
        assert folder.secrets() == first
        assert stat.S_IMODE((folder.path / "secrets.json").stat().st_mode) == 0o600
    assert first.jwt_secret not in repr(first)


def test_the_lock_keeps_a_second_one_out_and_is_not_left_behind(tmp_path: Path) -> None:
    with (
        open_data_folder(tmp_path),
        pytest.raises(DataFolderRefused, match=f"in use by process {os.getpid()}"),
        open_data_folder(tmp_path),
    ):
        pass
    assert not (tmp_path / "lock").exists()


def test_a_lock_left_by_a_killed_process_keeps_nobody_out(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("4242")
    with open_data_folder(tmp_path):
        pass


def test_a_folder_of_another_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "VERSION").write_text("0\n")
    with pytest.raises(DataFolderRefused, match="is of version '0'"), open_data_folder(tmp_path):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["VERSION"]


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(DataFolderRefused, match="something else"), open_data_folder(tmp_path):
        pass


def test_a_file_is_no_data_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DataFolderRefused), open_data_folder(path):
            pass


def test_a_disk_with_little_room_is_refused_before_anything_starts(tmp_path: Path) -> None:
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "x", tmp_path]).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        with pytest.raises(DiskFull, match="300 MB are needed"), open_data_folder(tmp_path / "data"):
            pass
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_disk_that_fills_while_running_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DiskFull, match="is full"), full_disk_said(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
