"""Rows run in chunks: what is learned from runs, and that the answers are those of one run."""

from __future__ import annotations

import numpy as np
import pytest

from lading.row_chunks import RUN_BUDGET_S, ChunkSizes


class Machine:
    """A model that takes `row_s` a row on a clock of its own, and counts the rows of each run."""

    def __init__(self, row_s: float, fixed_s: float = 0.0) -> None:
        self.row_s, self.fixed_s, self.now, self.runs = row_s, fixed_s, 0.0, []

    def clock(self) -> float:
        return self.now

    def run(self, inputs):
        rows = len(inputs["X"])
        self.runs.append(rows)
        self.now += self.fixed_s + rows * self.row_s
        return {"Y": inputs["X"].sum(axis=1), "label": np.array(["a"] * rows, object)}


def rows(count: int, values: int = 4):
    return {"X": np.arange(count * values, dtype="float32").reshape(count, values)}


@pytest.mark.parametrize("row_s", [0.1, 0.0065, 0.00001])
def test_no_run_takes_longer_than_the_budget_or_two_rows(row_s):
    machine = Machine(row_s)
    answers = ChunkSizes(machine.clock).run(machine.run, rows(256))
    assert sum(machine.runs) == 256
    assert max(machine.runs) * row_s <= max(RUN_BUDGET_S, 2 * row_s) * 1.001
    np.testing.assert_array_equal(answers["Y"], rows(256)["X"].sum(axis=1))
    assert answers["label"].tolist() == ["a"] * 256


def test_many_rows_of_a_quick_model_are_one_run_once_it_is_known():
    machine = Machine(0.000001)
    sizes = ChunkSizes(machine.clock)
    sizes.run(machine.run, rows(2000))
    machine.runs.clear()
    sizes.run(machine.run, rows(1000))
    assert machine.runs == [1000]


def test_a_model_that_reads_its_weights_once_a_run_keeps_running_rows_together():
    machine = Machine(row_s=0.001, fixed_s=0.05)
    sizes = ChunkSizes(machine.clock)
    sizes.run(machine.run, rows(8))
    assert max(machine.runs) >= 2


def test_longer_rows_are_taken_to_cost_the_square_of_their_length():
    sizes = ChunkSizes()
    sizes.observe(32, 8, 0.008)
    assert (sizes.most(8), sizes.most(32), sizes.most(256)) == (64, 4, 1)


def test_a_moment_at_which_the_machine_stands_still_is_forgotten():
    sizes = ChunkSizes()
    sizes.observe(1, 4, 0.00001)
    sizes.observe(4, 4, 5.0)
    assert sizes.most(4) == 2
    sizes.observe(2, 4, 0.00001)
    assert sizes.most(4) == 8


def test_answers_that_are_no_rows_come_from_one_run():
    machine = Machine(0.1)
    whole = ChunkSizes(machine.clock).run(lambda part: {"Y": np.float32(len(part["X"]))}, rows(10))
    assert whole["Y"] == 10
