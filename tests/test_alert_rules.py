"""The rules for Prometheus ask for metrics that there are, and say what to do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest
from test_architecture import exported_metrics

from ingest.iboss.guard import BUCKETS
from ingest.iboss.latency import TARGET_S

FILE = Path(__file__).parents[1] / "deploy" / "prometheus" / "alerts.yml"
KEYS = {"alert": 6, "expr": 8, "for": 8, "severity": 10, "summary": 10, "action": 10}
FIELD = re.compile(r"^( +)(?:- )?(\w+): (.+)$")
HEADING = re.compile(r"^(groups:|  - name: [\w ]+|    rules:|        (?:labels|annotations):)$")
METRIC = re.compile(r"\b(?:alhambra|iboss|live|http)_\w+")
MUST_QUOTE = re.compile(r": |^[{\"'*&!|>%@`]| #")
SUFFIX = re.compile(r"_(?:bucket|sum|count)$")


class Rule(NamedTuple):
    """Hold a rule: the field names of the file to their texts."""

    name: str
    fields: dict[str, str]


def read_rules() -> list[Rule]:
    """Read the file, which uses a small part of YAML only: what else stands in it fails."""
    rules: list[Rule] = []
    for number, line in enumerate(FILE.read_text(encoding="utf-8").splitlines(), 1):
        if not line or line.startswith("#") or HEADING.match(line):
            continue
        found = FIELD.match(line)
        assert found, f"line {number} is not of the form that is read here: {line}"
        indent, key, text = len(found[1]), found[2], found[3]
        assert KEYS.get(key) == indent, f"line {number}: {key}"
        quoted = text.startswith('"') and text.endswith('"')
        assert quoted or key in ("expr", "alert") or not re.search(r": |^[{\"'*&!|>%@`]| #", text), (
            f"quote line {number}"
        )
        if key == "alert":
            rules.append(Rule(text, {}))
        assert key not in rules[-1].fields, f"line {number}: {key} twice"
        rules[-1].fields[key] = text.strip('"') if quoted else text
    return rules


RULES = read_rules()
METRICS = exported_metrics()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_asks_for_metrics_that_there_are_and_says_what_to_do(rule: Rule) -> None:
    asked = {SUFFIX.sub("", one) for one in METRIC.findall(re.sub(r'"[^"]*"', "", rule.fields["expr"]))}
    assert asked
    assert asked <= METRICS
    assert rule.fields["severity"] in ("page", "ticket")
    assert rule.fields["summary"].endswith(".")
    assert rule.fields["action"].endswith(".")
    assert rule.fields["expr"].count("(") == rule.fields["expr"].count(")")


def test_every_rule_has_a_name_of_its_own() -> None:
    names = [rule.name for rule in RULES]
    assert len(names) == len(set(names))
    assert len(names) > 20


def test_the_target_of_iboss_is_an_edge_of_its_histogram_and_the_threshold_of_its_alert() -> None:
    (rule,) = [rule for rule in RULES if rule.name == "IbossSlow"]
    assert TARGET_S in BUCKETS
    assert rule.fields["expr"].endswith(f"> {TARGET_S}")
