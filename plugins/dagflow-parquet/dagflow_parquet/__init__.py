"""dagflow-parquet: Parquet files as source and sink of dagflow pipelines."""
