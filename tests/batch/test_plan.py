"""What is written follows from the content of bundle and inputs alone."""

from __future__ import annotations

import msgspec

from lading.batch.inputs import InputFile
from lading.batch.plan import Plan, Task, make_plan
from lading.batch.run import run_batch
from lading.batch.tables import Span
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


def test_a_plan_of_before_there_was_an_expression_has_the_identity_that_it_had(iris):
    # Both digests were computed by the lading of 2026-11-30.
    file = InputFile("day.csv", "/data/day.csv", "csv", 10, "ab" * 32, 5)
    span, bundle = Span(0, None, 0, None), f"sha256:{0:064}"
    plan = Plan(
        format=1,
        bundle=bundle,
        model="iris",
        keep=("customer",),
        chunk_rows=8192,
        files=(file,),
        tasks=(Task("part-000000-x.parquet", 0, span),),
    )
    assert plan.identity == "2939088034c0eb0eafc18d6bf8b82787bed0aabae2e5913357bb48ff64a52e53"
    assert msgspec.structs.replace(plan, where="a = 1").identity != plan.identity
    spans = {file.path: [span]}
    signature = iris.manifest.signature
    (task,) = make_plan([file], bundle, "iris", signature, ("customer",), spans=spans).tasks
    (other,) = make_plan([file], bundle, "iris", signature, ("customer",), "a = 1", spans=spans).tasks
    assert task.part == "part-000000-92b406239f30bef50f976538f077a751.parquet"
    assert other.part != task.part
