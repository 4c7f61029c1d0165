"""What ``deploy/`` asks Prometheus for is what the server tells."""

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.server.observability.conftest import QUESTION, samples

DEPLOY = Path(__file__).parents[3] / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "engram.json").read_text())
WORDS = {
    "by",
    "le",
    "and",
    "or",
    "rate",
    "sum",
    "count",
    "increase",
    "histogram_quantile",
    "up",
    "label_values",
}
LABELS = {
    "model",
    "version",
    "ending",
    "reason",
    "kind",
    "priority",
    "route",
    "status",
    "instance",
    "job",
    "ok",
}


def dashboard_queries():
    variables = [variable["query"] for variable in DASHBOARD["templating"]["list"]]
    labels = [query["query"] for query in variables if isinstance(query, dict)]
    return labels + [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def alerts():
    [group] = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"]
    return group["rules"]


def metrics_of(query):
    """Return the names of metrics in a query: every word that is no function, label, string or variable."""
    bare = re.sub(r'"[^"]*"|\$\w+|\[[^\]]*\]', "", query)
    return set(re.findall(r"[a-z][a-z0-9_]*", bare)) - WORDS - LABELS


QUERIES = [*dashboard_queries(), *(rule["expr"] for rule in alerts())]


@pytest.fixture
async def told(client):
    """The names of every metric after a request."""
    await client.post("/v1/qa", json=QUESTION)
    return {name for name, _ in await samples(client)}


@pytest.mark.parametrize("query", QUERIES)
async def test_every_metric_that_is_asked_for_exists(told, query):
    assert metrics_of(query) <= told
    assert query.count("(") == query.count(")")


def test_queries_ask_for_something():
    asked = [metrics_of(query) for query in QUERIES]
    assert sum(map(bool, asked)) >= len(asked) - 1, "only `up` is Prometheus' own"


def test_panels_have_their_own_ids_and_places():
    places = [
        (column, row)
        for panel in DASHBOARD["panels"]
        for column in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for row in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(places) == len(set(places))
    assert max(column for column, _ in places) < 24
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_the_dashboard_names_no_data_source_of_somebody():
    assert {target["datasource"]["uid"] for panel in DASHBOARD["panels"] for target in panel["targets"]} == {
        "${source}"
    }


def test_every_alert_says_what_is_wrong():
    for rule in alerts():
        assert re.fullmatch(r"Engram\w+", rule["alert"])
        assert rule["annotations"]["summary"].endswith(".")


def test_prometheus_reads_the_alerts_and_the_metrics_port():
    config = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text())
    assert all((DEPLOY / file).is_file() for file in config["rule_files"])
    [job] = config["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["engram:8002"]}]
    assert job["job_name"] == "engram"


def test_compose_mounts_what_exists():
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    mounted = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", ())]
    assert all((DEPLOY / path).exists() for path in mounted if path.startswith("."))
