"""Reads a page of metrics with Prometheus's own parser, and prints what it found."""

import sys

from prometheus_client.parser import text_string_to_metric_families

families = {family.name: family for family in text_string_to_metric_families(sys.stdin.read())}
for name, family in families.items():
    assert name.startswith("chinwag_") and family.documentation and family.samples, family
    assert family.type in ("counter", "gauge", "histogram"), family
buckets = [sample.value for sample in families["chinwag_tick_seconds"].samples if sample.name.endswith("_bucket")]
assert buckets == sorted(buckets) and buckets[-1] > 0, buckets
clients = {sample.labels["door"]: sample.value for sample in families["chinwag_clients"].samples}
print(len(families), clients["line"], int(families["chinwag_messages_received"].samples[0].value))
