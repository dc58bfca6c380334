"""A copy of a store and its log, cut or garbled anywhere in the log, opens as the commits before the damage.

This is what a power cut leaves of a log that the disk had not taken whole: a beginning, or a beginning and rubbish.
"""

import struct
from pathlib import Path

import pytest
from faults import WORDS_SETTINGS, Commit, check_sound, check_words, documents_of, expected_documents, rounds

from binrag import Store

HEADER, FRAME_HEADER = 32, 24


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """(bytes of the store, bytes of its log, models after each commit): what a killed writer left.

    Words are folded by commits of their own, which change no document.
    """
    from processes import Peer

    path = tmp_path_factory.mktemp("killed") / "store.binrag"
    commits = (Commit(3, n, n_pairs=12) for n in range(40))
    first, *others = [commit for commit in commits if commit.added and not commit.compacts][:7]
    with Store.open(path, **WORDS_SETTINGS) as store:
        first.write(store)
    models = [first.after({})]
    writer = Peer()
    generations = writer.run(
        """
        from faults import *
        small_folds(20)
        store = Store.open(p)
        result = [store.info().generation]
        for n in numbers:
            Commit(3, n, n_pairs=12).write(store)
            result.append(store.info().generation)
        """,
        p=str(path),
        numbers=[commit.number for commit in others],
    )
    writer.kill()
    for commit, before, after in zip(others, generations, generations[1:], strict=False):
        models += [commit.after(models[-1])] * (after - before)
    assert len(models) > len(others) + 2
    return path.read_bytes(), Path(f"{path}-wal").read_bytes(), models


@pytest.fixture(scope="module")
def frames(killed):
    """(first byte, byte after the last, commits done with it) of each frame of the log."""
    _, log, models = killed
    page_size = struct.unpack(">I", log[8:12])[0]
    size, found, n_commits = FRAME_HEADER + page_size, [], 0
    for start in range(HEADER, len(log), size):
        # the size of the store in pages marks the last frame of a commit
        n_commits += struct.unpack(">I", log[start + 4 : start + 8])[0] != 0
        found.append((start, start + size, n_commits))
    assert found[-1][1] == len(log)
    assert n_commits == len(models) - 1
    assert len(found) > 30
    return found


def check(folder, killed, log, n_commits):
    path = folder / "store.binrag"
    data, _, models = killed
    path.write_bytes(data)
    Path(f"{path}-wal").write_bytes(log)
    with Store.open(path) as store:
        assert documents_of(store) == expected_documents(models[n_commits])
        assert sorted(hit.id for hit in store.search([1] * 64, k=100, n_candidates=1000)) == sorted(models[n_commits])
        check_words(store, [1] * 64)
        check_sound(store)
    assert not Path(f"{path}-wal").exists()


def commits_before(frames, i):
    return frames[i - 1][2] if i else 0


def places(frames, few):
    """Some frames in ``make test``, all with BINRAG_LONG_TESTS=1; those around commits always."""
    ends = {i + more for i, (_, _, n) in enumerate(frames) if n != commits_before(frames, i) for more in (0, 1)}
    some = set(range(0, len(frames), rounds(few, 1)))
    return sorted((ends | some) & set(range(len(frames))))


@pytest.mark.parametrize("within", [0, 3, FRAME_HEADER, 9000, -1], ids=lambda n: f"byte {n}")
def test_a_log_cut_short(memory_folder, killed, frames, within):
    for i in places(frames, few=12):
        start, stop, _ = frames[i]
        check(
            memory_folder, killed, killed[1][: start + within if within >= 0 else stop - 1], commits_before(frames, i)
        )
    check(memory_folder, killed, killed[1], len(killed[2]) - 1)


@pytest.mark.parametrize("within", [1, 5, 9, 17, FRAME_HEADER, 9000, -1], ids=lambda n: f"byte {n}")
def test_a_byte_flipped_in_a_log(memory_folder, killed, frames, within):
    """In a frame's page number, commit mark, salt, checksum, first byte, middle and last byte."""
    for i in places(frames, few=12):
        start, stop, _ = frames[i]
        log = bytearray(killed[1])
        log[start + within if within >= 0 else stop - 1] ^= 1 << i % 8
        check(memory_folder, killed, log, commits_before(frames, i))


@pytest.mark.parametrize("kind", ["zeros", "the frame before"])
def test_a_page_of_a_log_that_the_disk_never_wrote(memory_folder, killed, frames, kind):
    """What follows it is whole, and is not used."""
    for i in places(frames, few=12)[1:]:
        start, stop, _ = frames[i]
        log = bytearray(killed[1])
        log[start:stop] = bytes(stop - start) if kind == "zeros" else log[slice(*frames[i - 1][:2])]
        check(memory_folder, killed, log, commits_before(frames, i))


@pytest.mark.parametrize("byte", [0, 7, 10, 13, 17, 25, 31])
def test_a_log_whose_header_is_damaged(memory_folder, killed, byte):
    log = bytearray(killed[1])
    log[byte] ^= 1
    check(memory_folder, killed, log, 0)


@pytest.mark.parametrize("n_bytes", [0, 1, HEADER - 1, HEADER])
def test_a_log_with_no_frame(memory_folder, killed, n_bytes):
    check(memory_folder, killed, killed[1][:n_bytes], 0)
