"""What Prometheus gets to see of a server."""

from collections.abc import Iterator, Mapping

import aiohttp
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families


class Scrape(Mapping[str, float]):
    """Each series as Prometheus writes it, such as `aiochat_connections{codec="json"}`, and its value."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        self._values = {series: float(value) for series, _, value in (line.rpartition(" ") for line in lines)}

    def __getitem__(self, series: str) -> float:
        return self._values[series]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def names(self) -> set[str]:
        """Of all series, without their labels."""
        return {series.partition("{")[0] for series in self}

    def count(self, name: str, **label: str) -> float:
        """The value of `aiochat_NAME{label="value"}`."""
        labels = ",".join(f'{key}="{value}"' for key, value in label.items())
        return self[f"aiochat_{name}{{{labels}}}" if labels else f"aiochat_{name}"]

    def labels(self, name: str, label: str) -> dict[str, float]:
        """Those series of `aiochat_NAME` that are not 0, by their only label."""
        start = f'aiochat_{name}{{{label}="'
        return {series[len(start) : -2]: value for series, value in self.items() if series.startswith(start) and value}


async def scrape(base_url: str, path: str = "/metrics") -> Scrape:
    """GET /metrics."""
    async with aiohttp.ClientSession() as session, session.get(base_url + path) as answer:
        assert answer.status == 200, await answer.text()
        return Scrape(await answer.text())


def collect(registry: CollectorRegistry) -> Scrape:
    """The same without a request."""
    return Scrape(generate_latest(registry).decode())
