"""Strategies that place a model on a fleet: Profile + Fleet -> Plan, one file each. A table row adds one."""

from multiedge.registry import Registry

PARTITIONERS = Registry(
    "partitioner",
    {
        "throughput": "partitioners.throughput:Throughput",
        "latency": "partitioners.latency:Latency",
        "energy": "partitioners.energy:Energy",
        "flow": "partitioners.flow:Flow",
        "exact": "partitioners.exact:Exact",
        "mincut": "partitioners.mincut:MinCut",
        "branches": "partitioners.branches:Branches",
        "manual": "partitioners.manual:Manual",
        "single": "partitioners.single:Single",
        "memory_matching": "partitioners.memory_matching:MemoryMatching",
        "equal_parameters": "partitioners.equal_parameters:EqualParameters",
        "equal_flops": "partitioners.equal_flops:EqualFlops",
        "pipeedge": "partitioners.pipeedge:PipeEdge",
        "halda": "partitioners.halda:Halda",
        "separate_pipelines": "partitioners.separate_pipelines:SeparatePipelines",
        "swarm": "partitioners.swarm:Swarm",
        "petals": "partitioners.petals:Petals",
        "random": "partitioners.random:Random",
        "brute_force": "partitioners.brute_force:BruteForce",
    },
)

OBJECTIVES = ("throughput", "latency", "energy")
"""What a plan can be best at."""
