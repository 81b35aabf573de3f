"""Files and folders hold the old content or the new, wherever their writer is killed; the next one tidies up."""

import os
import shutil
import threading

import pytest
from support.killed_writer import contents, killed_at_every_call

from rc_keras.files import folder_update, manifest, whole_files, whole_folder
from rc_keras.files import writer_lock as lock_module
from rc_keras.files.folder_update import FolderUpdate, stored_path
from rc_keras.files.whole_files import whole_file, write_whole
from rc_keras.files.whole_folder import folder_lock, new_folder, read_whole, recover, switch
from rc_keras.files.writer_lock import writer_lock

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked children")

OLD = {"a.txt": b"old a", "deep/b.txt": b"old b", "deep/same.txt": b"same"}
NEW = {"a.txt": b"the new a", "deep/b.txt": b"new b", "deep/same.txt": b"same", "more/c.txt": b"c", "more/d.txt": b"c"}


@pytest.fixture
def quick(monkeypatch):
    """Kills spare the caches of the system, so that nothing has to wait for a disk."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


# One file


def test_a_killed_writer_of_a_file(tmp_path, quick):
    path = tmp_path / "file.txt"
    seen = set()
    write_whole(path, b"old")

    def check():
        seen.add(path.read_bytes())
        write_whole(path, b"old")
        assert os.listdir(tmp_path) == ["file.txt"]

    assert killed_at_every_call(lambda: write_whole(path, b"new"), check) >= 4
    assert seen == {b"old", b"new"}


def test_a_living_writer_of_the_same_file_is_left_alone(tmp_path):
    with whole_file(tmp_path / "file.txt") as first:
        write_whole(tmp_path / "file.txt", b"second")
        assert os.path.exists(first)
        with open(first, "wb") as file:
            file.write(b"first")
    assert contents(tmp_path) == {"file.txt": b"first"}


def test_files_of_others_with_such_names_stay(tmp_path):
    names = [".file.original.txt", ".file.rc_keras-12345678", ".other.rc_keras-12345678.txt", "file.rc_keras-1.txt"]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    write_whole(tmp_path / "file.txt", b"")
    assert sorted(os.listdir(tmp_path)) == sorted([*names, "file.txt"])


@pytest.mark.parametrize("there", [True, False])
def test_links_are_written_through(tmp_path, there):
    (tmp_path / "elsewhere").mkdir()
    real, link = tmp_path / "elsewhere" / "real.txt", tmp_path / "link.txt"
    if there:
        real.write_bytes(b"old")
    link.symlink_to(real)
    write_whole(link, b"new")
    assert link.is_symlink() and real.read_bytes() == b"new"
    assert os.listdir(tmp_path / "elsewhere") == ["real.txt"]


def test_content_is_on_the_disk_before_its_name_and_the_name_before_the_end(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, _noted(getattr(os, name), calls))
    write_whole(tmp_path / "file.txt", b"new")
    assert [name for name, *_ in calls] == ["fsync", "replace", "fsync"]
    assert [kind for _, kind in calls if kind] == ["file", "folder"]


def _noted(function, calls):
    def call(first, *args):
        kind = None
        if function.__name__ == "fsync":
            kind = "folder" if os.path.isdir(f"/proc/self/fd/{first}") else "file"
        calls.append((function.__name__, kind))
        return function(first, *args)

    return call


# Several files of a folder


def update(folder, files):
    with FolderUpdate(str(folder)) as writer:
        for name, data in files.items():
            writer.put(name, data)
        writer.commit()


def stored(folder):
    """What a reader finds."""
    files = manifest.read(str(folder))
    if files is None:
        return None
    found = {}
    for name in files:
        with open(stored_path(str(folder), files, name), "rb") as file:
            found[name] = file.read()
    return found


@pytest.mark.parametrize("old", [OLD, None])
def test_a_killed_update_of_a_folder(tmp_path, old, quick):
    folder = tmp_path / "folder"
    seen = []

    def prepare():
        shutil.rmtree(folder, ignore_errors=True)
        if old is not None:
            update(folder, old)
            (folder / "mine.txt").write_bytes(b"mine")

    def check():
        seen.append(stored(folder))
        assert seen[-1] in (old, NEW)
        update(folder, NEW)
        mine = {} if old is None else {"mine.txt": b"mine"}
        found = {name: data for name, data in contents(folder).items() if data is not None}
        assert found.pop(manifest.NAME) == (folder / manifest.NAME).read_bytes()
        assert found == {**NEW, **mine}
        prepare()

    prepare()
    kills = killed_at_every_call(lambda: update(folder, NEW), check)
    assert kills > 20 and seen.count(NEW) > 5 and seen.count(old) > 5


def test_an_update_after_a_killed_one_may_be_another(tmp_path, quick):
    """What the killed one made count counts until then, and what it only prepared does not."""
    third = {"a.txt": b"third"}

    def check():
        before = stored(tmp_path)
        with FolderUpdate(str(tmp_path)) as writer:
            found = {n: open(writer.path(n), "rb").read() for n in before}  # noqa: SIM115
        assert found == before in (OLD, NEW)
        update(tmp_path, third)
        assert stored(tmp_path) == third and ".new" not in os.listdir(tmp_path)
        update(tmp_path, OLD)

    update(tmp_path, OLD)
    killed_at_every_call(lambda: update(tmp_path, NEW), check)


def test_an_update_that_fails_leaves_the_folder(tmp_path):
    update(tmp_path, OLD)
    before = contents(tmp_path)
    with pytest.raises(KeyboardInterrupt), FolderUpdate(str(tmp_path)) as writer:
        writer.put("a.txt", b"never")
        raise KeyboardInterrupt
    assert contents(tmp_path) == before


def test_an_update_writes_what_changed(tmp_path):
    update(tmp_path, OLD)
    times = {name: (tmp_path / name).stat().st_mtime_ns for name in OLD}
    update(tmp_path, {**OLD, "a.txt": b"changed"})
    assert {n for n in OLD if (tmp_path / n).stat().st_mtime_ns != times[n]} == {"a.txt"}


def test_a_linked_file_of_a_folder_is_written_through(tmp_path):
    folder = tmp_path / "folder"
    update(folder, OLD)
    os.rename(folder / "a.txt", tmp_path / "real.txt")
    (folder / "a.txt").symlink_to(tmp_path / "real.txt")
    update(folder, NEW)
    assert (folder / "a.txt").is_symlink() and (tmp_path / "real.txt").read_bytes() == NEW["a.txt"]


def test_a_damaged_manifest_is_not_tidied_away(tmp_path):
    update(tmp_path, OLD)
    (tmp_path / manifest.NAME).write_bytes(b"{")
    (tmp_path / folder_update.STAGED).mkdir()
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=r"manifest\.json must be"):
        update(tmp_path, NEW)
    assert contents(tmp_path) == before


def test_content_is_on_the_disk_before_it_counts(tmp_path, monkeypatch):
    synced, real = [], os.fsync
    update(tmp_path, OLD)

    def fsync(handle):
        synced.append(os.path.realpath(f"/proc/self/fd/{handle}"))
        real(handle)

    def write_manifest(path, data):
        staged = os.path.join(tmp_path, folder_update.STAGED)
        names = [os.path.join(staged, name) for name in os.listdir(staged)]
        assert len(names) == 4 and {*names, staged, str(tmp_path)} <= set(synced)
        write_whole(path, data)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(folder_update, "write_whole", write_manifest)
    update(tmp_path, NEW)
    assert {str(tmp_path / "deep"), str(tmp_path / "more")} <= set(synced)


# A folder as a whole


def replace(folder, files):
    with folder_lock(str(folder)), new_folder(str(folder)) as temporary:
        for name, data in files.items():
            path = os.path.join(temporary, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(data)
        switch(temporary, str(folder))


def files_of(folder):
    return {name: data for name, data in contents(folder).items() if data is not None}


@pytest.fixture(params=["exchange", "two steps"])
def steps(request, monkeypatch):
    """How folders are switched: as this system can, or as one that cannot exchange names."""
    if request.param == "two steps":
        monkeypatch.setattr(whole_folder, "_exchange", lambda one, other: False)
    return request.param


@pytest.mark.parametrize("old", [OLD, None])
def test_a_killed_replacement_of_a_folder(tmp_path, old, steps, quick):
    box = tmp_path / "box"
    folder = box / "folder"
    seen, gaps = [], []

    def prepare():
        shutil.rmtree(box, ignore_errors=True)
        box.mkdir()
        if old is not None:
            replace(folder, old)

    def check():
        gaps.append(old is not None and not folder.exists())
        recover(str(folder))
        seen.append(files_of(folder) if folder.exists() else None)
        assert seen[-1] in (old, NEW)
        replace(folder, NEW)
        assert os.listdir(box) == ["folder"] and files_of(folder) == NEW
        prepare()

    prepare()
    assert killed_at_every_call(lambda: replace(folder, NEW), check) > 10
    assert seen.count(old) > 5 and seen.count(NEW) > 1
    if steps == "exchange" or old is None:
        assert not any(gaps)  # also for those who know nothing of this package
    else:
        assert sum(gaps) == 1


def test_a_folder_that_cannot_be_named_leaves_the_old_one(tmp_path, steps, monkeypatch):
    replace(tmp_path / "folder", OLD)
    real = os.rename

    def rename(source, target):
        if target == str(tmp_path / "folder") and "former" not in source:
            raise OSError("No")
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    if steps == "exchange":
        monkeypatch.setattr(whole_folder, "_exchange", lambda *names: rename(*names))
    with pytest.raises(OSError, match="No"):
        replace(tmp_path / "folder", NEW)
    assert os.listdir(tmp_path) == ["folder"] and files_of(tmp_path / "folder") == OLD


def test_a_linked_folder_is_replaced_where_it_is(tmp_path, steps):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk/folder")
    replace(tmp_path / "link", OLD)
    replace(tmp_path / "link", NEW)
    assert (tmp_path / "link").is_symlink() and files_of(tmp_path / "disk" / "folder") == NEW
    assert os.listdir(tmp_path / "disk") == ["folder"]


def test_permissions(tmp_path, steps):
    replace(tmp_path / "folder", OLD)
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o777 & ~whole_files.umask()
    os.chmod(tmp_path / "folder", 0o750)
    replace(tmp_path / "folder", NEW)
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o750


def test_all_of_a_folder_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    synced, real = [], whole_folder.sync

    def sync(path):
        synced.append((os.path.relpath(path, tmp_path), os.path.exists(tmp_path / "folder")))
        real(path)

    monkeypatch.setattr(whole_folder, "sync", sync)
    replace(tmp_path / "folder", OLD)
    assert [name for name, named in synced if named] == ["."]
    assert {os.path.basename(name) for name, named in synced if not named} >= {"a.txt", "deep", "b.txt", "same.txt"}


def test_a_reader_of_a_folder_that_is_replaced_meanwhile_reads_again(tmp_path):
    folder = tmp_path / "folder"
    replace(folder, OLD)
    replacements = iter([NEW, OLD, NEW])

    def read():
        first = (folder / "a.txt").read_bytes()
        files = next(replacements, None)
        if files is not None:
            replace(folder, files)
            if files is OLD:
                raise ValueError("a file is missing")
        return {"a.txt": first, "deep/b.txt": (folder / "deep" / "b.txt").read_bytes()}

    assert read_whole(str(folder), read) == {name: NEW[name] for name in ("a.txt", "deep/b.txt")}
    with pytest.raises(ValueError, match="damaged"):
        read_whole(str(folder), lambda: (_ for _ in ()).throw(ValueError("damaged")))


# The lock


def test_one_writer_at_a_time(tmp_path):
    path = str(tmp_path / "lock")
    with writer_lock(path, "The folder x"):
        with (
            pytest.raises(BlockingIOError, match="The folder x must have one writer"),
            writer_lock(path, "The folder x"),
        ):
            pass
        child = os.fork()
        if child == 0:
            try:
                with writer_lock(path, "x"):
                    os._exit(1)
            except BlockingIOError:
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with writer_lock(path, "x"):
        pass
    assert os.listdir(tmp_path) == []


def test_a_lock_whose_file_was_removed_meanwhile_is_taken_again(tmp_path, monkeypatch):
    path, real, taken = str(tmp_path / "lock"), lock_module._locked, []

    def locked(path):
        taken.append(real(path))
        if len(taken) == 1:
            os.remove(path)  # as its last holder does
        return taken[-1]

    monkeypatch.setattr(lock_module, "_locked", locked)
    with writer_lock(path, "x"):
        assert len(taken) == 2 and os.path.samestat(os.fstat(taken[1]), os.stat(path))


def test_many_threads_take_turns(tmp_path):
    """Also while the file of the lock is removed and made again."""
    inside, most, turns = [], [], []

    def work():
        while len(turns) < 200:
            try:
                with writer_lock(str(tmp_path / "lock"), "x"):
                    inside.append(1)
                    most.append(len(inside))
                    turns.append(1)
                    inside.pop()
            except BlockingIOError:
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1


@pytest.mark.parametrize("lock", [FolderUpdate, folder_lock])
def test_folders_have_one_writer_at_a_time(tmp_path, lock):
    folder = str(tmp_path / "folder")
    with lock(folder):
        before = contents(tmp_path)
        with pytest.raises(BlockingIOError, match=f"{folder} must have one writer"), lock(folder):
            pass
        assert contents(tmp_path) == before
