"""config/grafana.json and config/alerts.yaml: valid, and about metrics that there are."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.scraping import scrape
from tests.servers import Server

CONFIG: Final = Path(__file__).parent.parent / "config"
ALERTS: Final = CONFIG / "alerts.yaml"
OURS: Final = re.compile(r"\b(?:aiochat|process|python)_[a-z_]+")
LABELS: Final = re.compile(r"by \(([^)]*)\)")
EVERYWHERE: Final = {"instance", "job", "le"}  # from Prometheus, or of every histogram

needs_promtool: Final = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def dashboard() -> dict[str, Any]:
    """As Grafana imports it."""
    loaded: dict[str, Any] = json.loads((CONFIG / "grafana.json").read_text(encoding="utf-8"))
    return loaded


def panels() -> list[dict[str, Any]]:
    """Those with something to see."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def rules() -> list[dict[str, Any]]:
    """Of the alerts."""
    (group,) = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return list(group["rules"])


def expressions() -> Iterator[str]:
    """All PromQL in both files, as Prometheus gets it."""
    for panel in panels():
        for target in panel["targets"]:
            expression: str = target["expr"]
            yield expression.replace("$__rate_interval", "1m").replace("$job", "aiochat").replace("$instance", ".*")
    for rule in rules():
        yield rule["expr"]


def promtool(*arguments: str | Path) -> None:
    """Which must find nothing."""
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.asyncio(loop_scope="session")
async def test_every_metric_and_label_is_one_of_a_real_server(shared: Server) -> None:
    """A panel of a metric that was renamed would be empty for ever, and its alert would never fire."""
    seen = await scrape(shared.base_url)
    for expression in expressions():
        names = set(OURS.findall(expression))
        assert names or expression.startswith("up{")
        assert names <= seen.names, expression
        labels = {label for family in seen.families.values() for sample in family.samples for label in sample.labels}
        for grouping in LABELS.findall(expression):
            assert set(grouping.split(", ")) <= labels | EVERYWHERE, expression


def test_each_panel_can_be_read() -> None:
    """A title and a description, a data source that is chosen, an id of its own, and a place of its own."""
    assert len({panel["id"] for panel in dashboard()["panels"]}) == len(dashboard()["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


def test_each_variable_is_there() -> None:
    """What the expressions name, and nothing that none does."""
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(panels()))) - {"__rate_interval"}
    assert {variable["name"] for variable in dashboard()["templating"]["list"]} == used


def test_each_alert_says_what_to_do() -> None:
    """One line of what is wrong, with the server; then what to look at; and where more of it stands."""
    assert len({rule["alert"] for rule in rules()}) == len(rules())
    for rule in rules():
        said = rule["annotations"]
        assert said.keys() == {"summary", "action", "runbook"}
        assert "$labels.instance" in said["summary"]
        assert said["action"].endswith(".")
        assert said["runbook"] == "docs/operations.md#alerts"
        assert rule["labels"]["severity"] in {"page", "ticket"}


@needs_promtool
def test_prometheus_can_read_all_of_it(tmp_path: Path) -> None:
    """The alerts as they are, and the panels' expressions as rules."""
    promtool("check", "rules", ALERTS)
    recorded = [{"record": f"panel:{number}", "expr": each} for number, each in enumerate(expressions())]
    file = tmp_path / "panels.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}), encoding="utf-8")
    promtool("check", "rules", file)


@needs_promtool
def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    """And not for the server beside it that is well: tests/alerts.yaml."""
    file = tmp_path / "alerts.yaml"
    file.write_text(
        (Path(__file__).parent / "alerts.yaml").read_text(encoding="utf-8").replace("RULES", str(ALERTS)),
        encoding="utf-8",
    )
    promtool("test", "rules", file)
