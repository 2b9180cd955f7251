"""What came of every request, whether it should have, and what the process took meanwhile."""

import collections
import contextlib
import statistics
import time

from report import machine

#: Reasons for an outcome other than 200, in the timeline.
ISSUER, RESTART, REPLACEMENT = "issuer in trouble", "origin restarted", "origin replaced"
#: How much the resident memory may grow from the first to the last minute after the warm-up: what the allocator keeps is
#: not to the byte the same.
TOLERANCE_MIB = 2
#: Descriptors beyond those before the load, once it is over: a connection to the issuer may be kept.
TOLERANCE_DESCRIPTORS = 2


class Timeline:
    """When what was in trouble."""

    def __init__(self):
        self.spans = []

    @contextlib.contextmanager
    def during(self, what):
        span = [what, time.monotonic(), None]
        self.spans.append(span)
        try:
            yield
        finally:
            span[2] = time.monotonic()

    def has(self, what, since):
        """Whether it was in trouble at any time from then until now."""
        return any(name == what and (end is None or end >= since) for name, _, end in self.spans)

    def count(self, what):
        return sum(name == what for name, *_ in self.spans)


class Tally:
    def __init__(self, timeline):
        self.timeline, self.begun = timeline, time.monotonic()
        self.outcomes = collections.defaultdict(collections.Counter)
        #: What ended as it should not, by kind and outcome: when, and what is known of it.
        self.wrong = collections.defaultdict(list)
        #: Names of keys of which a token has passed: the gate has them.
        self.known = set()
        #: Requests with valid tokens, by what excused another end than 200.
        self.valids = collections.Counter()

    def expect(self, kind, outcome, expected, since, may_pass):
        """A request that should end in one of these ways, or in trouble of the origin's where it `may_pass` the gate."""
        self.outcomes[kind][outcome] += 1
        excused = may_pass and self.origin_excuses(outcome, since, repeatable=True)
        if outcome not in expected and not excused:
            self.wrong[kind, outcome].append(self.clock())

    def valid(self, kind, outcome, key, was_known, repeatable, since):
        """A request with a valid token: 200, or trouble that this request cannot have been spared."""
        self.outcomes[kind][outcome] += 1
        if outcome == "200":
            self.known.add(key.kid)
            excuse = "200"
        elif outcome == "503 keys_unavailable" and not was_known and self.timeline.has(ISSUER, since):
            excuse = "503, a key published while nobody could ask for it"
        else:
            excuse = self.origin_excuses(outcome, since, repeatable)
        self.valids[excuse or "FAILED"] += 1
        self.valids["401"] += outcome.startswith("401")
        if not excuse:
            known, took = "known" if was_known else "new", time.monotonic() - since
            self.wrong[kind, outcome].append(f"{self.clock()} with {known} {key.kid} after {took:.2f} s")

    def origin_excuses(self, outcome, since, repeatable):
        """While nobody listens there, 502, or an answer that breaks off. When another takes over, 502 to what may not be
        sent twice."""
        if self.timeline.has(RESTART, since) and (outcome == "cut" or outcome.startswith("502")):
            return "502 or cut, no origin"
        if not repeatable and self.timeline.has(REPLACEMENT, since) and outcome == "502 upstream_unreachable":
            return "502, not repeatable, another origin"
        return None

    def clock(self):
        return f"at {time.monotonic() - self.begun:.1f} s"

    def failed(self):
        return sum(map(len, self.wrong.values()))

    def total(self):
        return sum(sum(counts.values()) for counts in self.outcomes.values())


class Series:
    """Resident memory and descriptors, once a second."""

    def __init__(self):
        self.samples = []

    def add(self, seconds, mib, descriptors):
        self.samples.append((seconds, mib, descriptors))

    def windows(self, warm_up):
        """The first and the last minute after the warm-up, or as much of it as there is."""
        warm = [sample for sample in self.samples if sample[0] >= warm_up]
        size = max(1, min(60, len(warm) // 2))
        return warm[:size], warm[-size:]

    def slope(self, warm_up):
        """MiB per hour after the warm-up, by least squares."""
        warm = [sample for sample in self.samples if sample[0] >= warm_up]
        if len(warm) < 2:
            return 0.0
        seconds, mib = [sample[0] for sample in warm], [sample[1] for sample in warm]
        return statistics.linear_regression(seconds, mib).slope * 3600


def show(tally, series, run):
    """Prints the report; the promises that were broken."""
    print(f"\n{machine()}; {run['version']}; {run['seconds'] / 60:.1f} minutes, {tally.total()} requests.\n")
    print("| kind | requests | outcomes |\n|---|---|---|")
    for kind, counts in sorted(tally.outcomes.items()):
        cells = ", ".join(f"{outcome}: {count}" for outcome, count in counts.most_common())
        print(f"| {kind} | {sum(counts.values())} | {cells} |")
    valids = tally.valids
    print(f"\nValid tokens: {', '.join(f'{count} × {excuse}' for excuse, count in valids.most_common() if excuse != '401')}.")
    count = tally.timeline.count
    print(
        f"\nMeanwhile: {run['rotations']} rotations, {count(ISSUER)} outages of the issuer, {count(RESTART)} restarts and "
        f"{count(REPLACEMENT)} replacements of the origin, {run['fetches']} fetches of the keys (at most {run['densest']} "
        "in any 15 s)."
    )
    first, last = series.windows(run["warm_up"])
    medians = [[statistics.median(sample[at] for sample in window) for window in (first, last)] for at in (1, 2)]
    (mib, mib_then), (descriptors, descriptors_then) = medians
    print(
        f"Memory: {mib:.1f} MiB after the warm-up, {mib_then:.1f} MiB at the end ({series.slope(run['warm_up']):+.1f} MiB/h), "
        f"at most {run['peak']:.1f} MiB. Descriptors under load: {descriptors:.0f}, then {descriptors_then:.0f}; at rest: "
        f"{run['rest_before']} before, {run['rest_after']} after. Exit code {run['exit_code']}."
    )
    promises = [
        (f"{tally.failed()} requests ended as they should not", not tally.wrong),
        (f"{valids['401']} valid tokens got 401", not valids["401"]),
        (f"memory grew by {mib_then - mib:.1f} MiB", mib_then - mib <= TOLERANCE_MIB),
        (
            f"{run['rest_after'] - run['rest_before']} descriptors were left open",
            run["rest_after"] - run["rest_before"] <= TOLERANCE_DESCRIPTORS,
        ),
        (f"the exit code is {run['exit_code']}", run["exit_code"] == 0),
        *((f"no {kind} was tried", tally.outcomes[kind]) for kind in run["kinds"]),
    ]
    return [text for text, holds in promises if not holds]


def show_wrong(tally):
    print("\nAs they should not:\n")
    for (kind, outcome), times in tally.wrong.items():
        print(f"- {kind}: {outcome}, {len(times)} times: {'; '.join(times[:3])}")
