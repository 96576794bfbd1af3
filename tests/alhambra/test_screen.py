from alhambra.child import State
from alhambra.screen import status_line
from db.live import HealthReport


def test_the_line_names_only_what_is_not_well() -> None:
    states = {"postgres": State.READY, "stream": State.RESTARTING}
    health = {
        "market:simulated": HealthReport("market:simulated", True, "500 quotes/s", 1),
        "iboss": HealthReport("iboss", True, "12 ms", 1),
        "kafka": HealthReport("kafka", False, "no answer", 1),
    }
    line = status_line(states, health, "stream ended").plain
    assert line == "●● stream restarting │ kafka no answer │ market:simulated 500 quotes/s │ stream ended"
