"""Runs made up for the report's tests: a seeded pipeline of three devices, worked out by arithmetic."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import lru_cache

import numpy as np

from multiedge.fleet import Device, Fleet, Power
from multiedge.graph import Graph, Node
from multiedge.measurements import Energy, Event, Fault, Item, Measurements, Memory
from multiedge.meters.modelled import with_energy
from multiedge.plan import CALLER, Estimate, Plan, Stage, StageEstimate, Transfer
from multiedge.proof import CONTIGUOUS
from multiedge.report.results import RunResult, make_result

MIB = 1 << 20
FLEET = Fleet(
    (
        Device("jetson-orin", memory_bytes=800 * MIB, power=Power(4.0, 15.0, "data sheet"), joules_per_byte=2e-8),
        Device("raspberry-pi", memory_bytes=500 * MIB, power=Power(2.5, 6.5, "data sheet"), joules_per_byte=5e-8),
        Device("old-laptop", memory_bytes=600 * MIB, power=Power(6.0, 25.0, "wall plug"), joules_per_byte=1e-8),
    )
)


def pipeline(compute_s: tuple[float, ...], items: int = 100, seed: int = 0, fault: bool = False) -> Measurements:
    """All items due at the start, through one stage per device, links of 2 ms, times that vary by 6 %."""
    chance = random.Random(seed)
    free = [0.0] * len(compute_s)
    events, finished = [], []
    for number in range(items):
        ready = 0.0
        for stage, mean in enumerate(compute_s):
            start = max(ready, free[stage])
            if fault and stage == 1 and number == items // 2:
                start += 12 * mean
            stop = start + max(mean * chance.gauss(1.0, 0.06), mean / 2)
            device = FLEET.names[stage]
            events.append(Event("compute", number, stage, device, start, stop))
            free[stage] = ready = stop
            if stage + 1 < len(compute_s):
                ready = stop + 0.002
                events.append(Event("transfer", number, stage, device, stop, ready, 600_000, FLEET.names[stage + 1]))
        finished.append(Item(number, 0.0 + number * 0.001, number * 0.001, ready))
    broken_s = next(e.start_s for e in events if (e.stage, e.item) == (1, items // 2)) if fault else 0.0
    faults = (Fault("device", "raspberry-pi", broken_s - 12 * compute_s[1], broken_s, "unplugged, then back"),) if fault else ()
    memory = tuple(
        Memory(
            name,
            (300 + 70 * n) * MIB,
            (90 + 5 * n) * MIB,
            210 * MIB,
            None,
            (290 + 60 * n) * MIB,
            FLEET.device(name).memory_bytes,
            "VmHWM",
        )
        for n, name in enumerate(FLEET.names[: len(compute_s)])
    )
    settings = {"scenario": "Offline", "executor": "processes", "seed": seed, "threads": 1}
    run = Measurements(tuple(finished), tuple(events), 0.0, finished[-1].done_s, 4, faults, memory, (), settings)
    return with_energy(run, FLEET)


def steady_run(count: int = 100, seconds: float = 0.1, seed: int = 0, spread: float = 0.02) -> Measurements:
    """Items that a single device answers one after the other."""
    wait = np.random.default_rng(seed).normal(seconds, seconds * spread, count)
    stops = np.cumsum(wait)
    items = tuple(Item(n, stop - took, stop - took, stop) for n, (stop, took) in enumerate(zip(stops, wait, strict=True)))
    events = tuple(Event("compute", item.item, 0, "nano", item.issued_s, item.done_s) for item in items)
    return Measurements(
        items,
        events,
        0.0,
        float(stops[-1]),
        faults=(Fault("device", "nano", 1.0, None, "unplugged"),),
        memory=(Memory("nano", 100, 60, 40, planned_bytes=90, limit_bytes=200, method="VmHWM"),),
        energy=(Energy("nano", None, None, None),),
        settings={"scenario": "SingleStream", "seed": 7},
    )


def plan(strategy: str, compute_s: tuple[float, ...], gap: float | None = 0.0) -> Plan:
    """A plan of 100 nodes per stage that expects a little less time than the pipeline takes."""
    worst = max(compute_s) * 0.96
    costs = [
        StageEstimate(seconds * 0.96, 0.002, (290 + 60 * n) * MIB, FLEET.devices[n].memory_bytes, seconds * 0.96 / worst)
        for n, seconds in enumerate(compute_s)
    ]
    return Plan(
        strategy,
        "throughput",
        tuple(Stage.span(FLEET.names[n], 100 * n, 100 * n + 100) for n in range(len(compute_s))),
        tuple(
            Transfer(n - 1, CALLER if n == len(compute_s) else n, (f"t{100 * n}",), 600_000 if n else 602_112)
            for n in range(len(compute_s) + 1)
        ),
        Estimate(
            tuple(costs),
            worst,
            f"device '{FLEET.names[compute_s.index(max(compute_s))]}'",
            sum(compute_s),
            3.1,
            600_000 * (len(compute_s) - 1),
        ),
        worst,
        None if gap is None else worst * (1 - gap),
        CONTIGUOUS,
        0.012,
        model="vit_b_16",
    )


def model(count: int) -> Graph:
    """A chain of `count` nodes with a shortcut past every third."""
    reads = [(f"t{n}", f"t{n - 1}") if n % 3 == 2 else (f"t{n}",) for n in range(count)]
    nodes = tuple(Node(f"n{n}", "Add" if n % 3 == 2 else "Conv", names, (f"t{n + 1}",)) for n, names in enumerate(reads))
    return Graph("vit_b_16", nodes, ("t0",), (f"t{count}",), {})


def sample(
    name: str, compute_s: tuple[float, ...], *, seed: int = 0, fault: bool = False, gap: float | None = 0.0
) -> RunResult:
    """One finished run with its plan, accuracy and configuration; machine and versions are made up, so that pages are the same
    everywhere."""
    result = make_result(
        name,
        pipeline(compute_s, seed=seed, fault=fault),
        plan=plan(name, compute_s, gap),
        configuration={"model": "vit_b_16", "devices": "devices.yaml", "strategy": name},
        graph=model(100 * len(compute_s)),
        extra={"accuracy_top1": 0.8 + 0.001 * seed, "fidelity": 1.0},
    )
    machine = {"processor": "Example CPU", "cores": 4, "memory_bytes": 8 << 30, "system": "Linux 6.1", "architecture": "x86_64"}
    versions = {"multiedge": "0.1.0", "python": "3.11.2", "onnxruntime": "1.31.0"}
    return replace(result, machine=machine, versions=versions, commit="0123456789ab", created="2026-11-21T05:00:00Z")


@lru_cache(maxsize=1)
def samples() -> list[RunResult]:
    """Five runs that differ in speed, balance and fortune."""
    return [
        sample("exact", (0.041, 0.043, 0.042), seed=1),
        sample("equal_flops", (0.030, 0.075, 0.024), seed=2, gap=0.43),
        sample("manual", (0.055, 0.052, 0.031), seed=3, gap=None),
        sample("single", (0.118,), seed=4, gap=0.0),
        sample("exact with a fault", (0.041, 0.043, 0.042), seed=5, fault=True),
    ]
