"""The counting threshold, in pieces."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from binrag.kernels.topk import dropped, lowered, ordered

LARGEST = 12
distances_lists = st.lists(st.integers(0, LARGEST), max_size=80)


@given(distances_lists, st.integers(1, 30))
def test_the_threshold_is_the_kth_smallest_distance(distances, k):
    counts = np.zeros(LARGEST + 2, dtype=np.int64)
    threshold, n_within, admitted = LARGEST + 1, 0, []
    for d in distances:
        if d >= threshold:
            continue
        admitted.append(d)
        counts[d] += 1
        threshold, n_within = lowered(counts, threshold, n_within + 1, k)
        expected = sorted(admitted)[k - 1] if len(admitted) >= k else LARGEST + 1
        assert threshold == expected
        assert n_within == sum(a <= threshold for a in admitted) < 2 * k
    assert sorted(admitted)[:k] == sorted(distances)[:k]


@given(distances_lists, st.integers(0, LARGEST))
def test_dropping_keeps_the_order(distances, threshold):
    rows = np.arange(len(distances)) * 3
    held = np.array(distances, dtype=np.int64)
    n = dropped(rows, held, len(distances), threshold)
    stay = [(3 * i, d) for i, d in enumerate(distances) if d <= threshold]
    assert list(zip(rows[:n].tolist(), held[:n].tolist(), strict=True)) == stay


@given(distances_lists, st.integers(1, 30), st.integers(0, LARGEST))
def test_the_best_come_out_in_order(distances, k, threshold):
    rows = np.arange(len(distances)) * 2 + 1
    counts = np.full(LARGEST + 2, 9, dtype=np.int64)
    out = np.full((2, k), -1, dtype=np.int64)
    held = np.array(distances, dtype=np.int64)
    n = ordered(rows, held, len(distances), threshold, k, counts, out[0], out[1])
    expected = sorted((d, 2 * i + 1) for i, d in enumerate(distances) if d <= threshold)[:k]
    assert list(zip(out[1, :n].tolist(), out[0, :n].tolist(), strict=True)) == expected
    assert (out[:, n:] == -1).all()
