"""The flow of the cluster as one sentence."""

from pointsman.contracts.frames import Flow
from pointsman.tui.format import duration, number, percent, rate, trend


def flow_words(flow: Flow) -> str:
    return (
        f"in {rate(flow.submitted)}, queued {number(flow.pending)} (oldest {duration(flow.oldest_ms)}, {trend(flow)}), "
        f"running {number(flow.running)} of {number(flow.slots)}, done {rate(flow.completed)}, "
        f"failed {rate(flow.failed)} ({percent(flow.fail_rate)}), wait p95 {duration(flow.wait_p95)}, "
        f"run p95 {duration(flow.run_p95)}"
    )
