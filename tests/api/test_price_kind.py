import pytest

from api.pages_data import price_kind


@pytest.mark.parametrize(
    ("reported", "configured", "kind"),
    [
        ({"coinbase", "simulated"}, "coinbase", "simulated"),
        ({"coinbase", "ecb"}, "simulated:500", "live"),
        ({"recorded"}, "", "recorded"),
        (set(), "coinbase; simulated:200", "simulated"),
        (set(), "recorded:file.csv?map=x", "recorded"),
        (set(), "coinbase?url=wss://simulated", "live"),
    ],
)
def test_prices_that_are_invented_in_part_are_not_called_live(reported: set[str], configured: str, kind: str):
    assert price_kind(reported, configured) == kind
