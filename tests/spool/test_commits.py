import threading
import time

import pytest

from dae_pacs.errors import SpoolError
from dae_pacs.spool.commits import GroupCommit


class Disk:
    """Commits numbers, slowly, and remembers in what company each came; odd ones it refuses."""

    def __init__(self):
        self.batches = []

    def together(self, items):
        time.sleep(0.05)
        if any(item % 2 for item in items):
            raise SpoolError("an odd one")
        self.batches.append(list(items))
        return [item * 10 for item in items]

    def alone(self, item):
        return self.together([item])[0]


def run_all(commits, items):
    results = {}

    def commit(item):
        try:
            results[item] = commits.commit(item)
        except SpoolError as error:
            results[item] = str(error)

    threads = [threading.Thread(target=commit, args=(item,)) for item in items]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def commits(disk):
    return GroupCommit(together=disk.together, alone=disk.alone)


def test_who_comes_alone_does_not_wait(disk, commits):
    assert commits.commit(2) == 20
    assert disk.batches == [[2]]


def test_those_who_come_during_a_commit_share_the_next(disk, commits):
    items = range(2, 22, 2)
    assert run_all(commits, items) == {item: item * 10 for item in items}
    assert len(disk.batches) < 5
    assert sorted(item for batch in disk.batches for item in batch) == list(items)


def test_one_bad_item_costs_no_other_its_success(commits):
    results = run_all(commits, [2, 4, 5, 6])
    assert results == {2: 20, 4: 40, 5: "an odd one", 6: 60}
    assert commits.commit(8) == 80
