"""What lading does with Spark: sessions, bundles on their way to executors, and what Python workers do there.

Named so that `import pyspark` and `lading.batch.engines.spark` mean one thing each.
"""
