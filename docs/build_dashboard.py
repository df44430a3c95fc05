"""Writes the Grafana dashboard from the list of its panels; run it after that has changed.

The test of the dashboard holds its queries to the metrics and labels that exist.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

FILE = Path(__file__).parents[1] / "dagflow" / "telemetry" / "grafana.json"

_WIDTH: Final = 24  # of a row, in Grafana's columns
_RATE: Final = "[$__rate_interval]"


def _quantile(share: float, labels: str, name: str) -> str:
    return f"histogram_quantile({share}, sum by ({labels}) (rate({name}_bucket{_RATE})))"


# Rows of panels: the title, the unit, and the queries with their legends.
ROWS: Final[list[tuple[str, list[tuple[str, str, list[tuple[str, str]]]]]]] = [
    (
        "Records",
        [
            ("Accepted", "reqps", [(f"rate(dagflow_records_accepted_total{_RATE})", "accepted")]),
            ("Outcomes", "reqps", [(f"sum by (outcome) (rate(dagflow_records_total{_RATE}))", "{{outcome}}")]),
            (
                "In flight",
                "short",
                [("dagflow_records_in_flight", "in flight"), ("dagflow_records_in_flight_limit", "limit")],
            ),
            (
                "From acceptance to the outcome",
                "s",
                [
                    (
                        _quantile(share, "le", "dagflow_record_duration_seconds"),
                        name,
                    )
                    for share, name in ((0.5, "p50"), (0.99, "p99"))
                ],
            ),
        ],
    ),
    (
        "Edges",
        [
            ("How full", "percentunit", [("dagflow_edge_depth / dagflow_edge_capacity", "{{edge}}")]),
            ("Age of the oldest", "s", [("dagflow_edge_oldest_age_seconds", "{{edge}}")]),
            (
                "Shed and expired",
                "reqps",
                [
                    (f"rate(dagflow_edge_shed_total{_RATE})", "{{edge}}: {{reason}}"),
                    (f"rate(dagflow_edge_expired_total{_RATE})", "{{edge}}: expired"),
                ],
            ),
            ("Flow", "reqps", [(f"rate(dagflow_edge_taken_total{_RATE})", "{{edge}}")]),
        ],
    ),
    (
        "Nodes",
        [
            ("Saturation", "percentunit", [("dagflow_node_saturation_ratio", "{{node}}")]),
            ("Waiting", "short", [("dagflow_node_waiting", "{{node}}")]),
            (
                "Duration, p99",
                "s",
                [
                    (
                        _quantile(0.99, "node, le", "dagflow_stage_duration_seconds"),
                        "{{node}}",
                    )
                ],
            ),
            (
                "Failed and tried again",
                "reqps",
                [
                    (f"rate(dagflow_node_failed_total{_RATE})", "{{node}}: failed"),
                    (f"rate(dagflow_node_retried_total{_RATE})", "{{node}}: tried again"),
                ],
            ),
        ],
    ),
    (
        "Workers",
        [
            ("Calls", "reqps", [(f"rate(dagflow_worker_calls_total{_RATE})", "{{worker}}")]),
            ("Errors", "reqps", [(f"rate(dagflow_worker_errors_total{_RATE})", "{{worker}}: {{error}}")]),
            (
                "Busy and waiting",
                "short",
                [("dagflow_worker_busy", "{{worker}}: busy"), ("dagflow_worker_waiting", "{{worker}}: waiting")],
            ),
            (
                "Open breakers",
                "short",
                [('dagflow_worker_breaker_state{state!="closed"} == 1', "{{worker}}: {{state}}")],
            ),
            (
                "First chunk, p99",
                "s",
                [
                    (
                        _quantile(0.99, "worker, le", "dagflow_worker_first_chunk_seconds"),
                        "{{worker}}",
                    )
                ],
            ),
            ("Tokens", "short", [(f"rate(dagflow_worker_tokens_total{_RATE})", "{{worker}}: {{type}}")]),
            ("Cost an hour", "short", [(f"3600 * rate(dagflow_worker_cost_total{_RATE})", "{{worker}}")]),
            ("Dead letters in the store", "short", [("dagflow_dead_letters_in_store", "letters")]),
        ],
    ),
]


def build() -> dict[str, Any]:
    """Give the dashboard."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS:
        panels.append({"type": "row", "title": title, "gridPos": {"x": 0, "y": top, "w": _WIDTH, "h": 1}, "panels": []})
        width = _WIDTH // 4
        for number, (name, unit, queries) in enumerate(row):
            place = {"x": number % 4 * width, "y": top + 1 + number // 4 * 8, "w": width, "h": 8}
            panels.append(_panel(name, unit, queries, place))
        top += 1 + (len(row) + 3) // 4 * 8
    for number, panel in enumerate(panels, 1):
        panel["id"] = number
    source = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    return {
        "title": "dagflow",
        "uid": "dagflow",
        "schemaVersion": 39,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [source]},
        "panels": panels,
    }


def _panel(name: str, unit: str, queries: list[tuple[str, str]], place: dict[str, int]) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${source}"}
    targets = [
        {"refId": chr(65 + number), "expr": query, "legendFormat": legend, "datasource": source}
        for number, (query, legend) in enumerate(queries)
    ]
    return {
        "type": "timeseries",
        "title": name,
        "datasource": source,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": targets,
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(build(), indent=1) + "\n", encoding="utf-8")
