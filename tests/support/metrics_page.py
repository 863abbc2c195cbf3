"""Reading a page of metrics, with the parser of prometheus-client."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from support.hosted_app import AppClient


def samples(text: str) -> dict[str, float]:
    """Return the samples of a page by name and labels, as the text format writes them."""
    samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            samples[f"{sample.name}{{{labels}}}"] = sample.value
    return samples


def scraped(client: AppClient, path: str = "/metrics") -> dict[str, float]:
    return samples(client.get(path).text)
