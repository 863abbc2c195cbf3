"""What is written follows from the content of bundle and inputs alone."""

from __future__ import annotations

from lading.batch.run import run_batch
from support.batch_runs import HERE


def test_what_a_run_writes_follows_from_its_content_alone(tmp_path, iris, parquet):
    for place in ("a", "b"):
        for number in range(3):
            parquet(f"{place}/day-{number}.parquet", 1500, seed=number)
        run_batch(iris, [tmp_path / place], tmp_path / f"out-{place}", HERE)
    first, second = (
        {path.name: path.read_bytes() for path in sorted((tmp_path / f"out-{place}").rglob("*.parquet"))}
        for place in ("a", "b")
    )
    assert first == second
    manifests = [(tmp_path / f"out-{place}/manifest.json").read_bytes() for place in ("a", "b")]
    assert manifests[0] == manifests[1]
