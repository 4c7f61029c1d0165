import numpy as np

from models.frequency import bucket_means


def test_words_fall_into_buckets_by_rank():
    ids = np.array([1, 2, 3, 3, 11, 12, 102])
    buckets = bucket_means(ids, np.array([7.0, 5.0, 1.0, 2.0, 3.0, 4.0, 6.0]))
    assert [(bucket.label, bucket.words, bucket.mean) for bucket in buckets] == [
        ("unknown word", 1, 7.0),
        ("end of line", 1, 5.0),
        ("rank 1 to 9", 3, 2.0),
        ("rank 10 to 29", 1, 4.0),
        ("rank 100 to 299", 1, 6.0),
    ]


def test_every_word_is_in_exactly_one_bucket():
    ids = np.arange(1, 40_000)
    buckets = bucket_means(ids, np.zeros(len(ids)))
    assert sum(bucket.words for bucket in buckets) == len(ids)
    assert buckets[-1].label == "rank 30,000 and beyond"
