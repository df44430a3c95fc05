"""Writes `questions.parquet`, for the pipeline beside this file."""

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 2500

numbers = range(ROWS)
table = pa.table({"question_id": [f"q{n}" for n in numbers], "input": [f"What is {n} times {n}?" for n in numbers]})
pq.write_table(table, "questions.parquet")
