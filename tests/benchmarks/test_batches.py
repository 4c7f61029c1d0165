from benchmarks.batches import Memory, Repeat, tables

REPEATS = [Repeat(800.0, 600.0, 1.0, 4.0, 2.0, 7.0), Repeat(800.0, 640.0, 1.0, 4.0, 2.0, 10.0)]


def cells(title):
    [table] = [each for each in tables(REPEATS, Memory(170.0, 180.0, 181.0)) if each.title.startswith(title)]
    return table.rows


def test_the_bar_is_the_median_of_the_ratios_of_each_repeat():
    assert cells("Bar") == [["p99 while a batch runs, over p99 alone", "2.12 (1.75 to 2.50)", "2", "no"]]


def test_a_batch_is_compared_with_the_request_that_answers_at_once():
    assert cells("Lines")[1] == ["POST /v1/batches", "620 (600 to 640)", "0.78 (0.75 to 0.80)"]


def test_memory_is_what_the_batch_added():
    assert cells("Memory")[0][-1] == "11.0 MB"
