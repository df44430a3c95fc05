"""Inference: what stands between whoever asks and the model worker that answers.

A request's trip: `GuardedWorker` makes a `Call` of it; the `Gate` holds it back until every guard lets it
pass; the worker is asked, while a `Watch` looks at the time; then every guard is told how it ended.
Each guard is one file: `Breaker`, `Concurrency` (fixed and adaptive), `Pause`, `Limits`, `Budget`.
"""
