"""Ways to know what a model costs: one file each, imported only when used.

A profiler is a class with `profile(graph, fleet) -> Profile`; see `profilers.engine.contract`.
"""

from multiedge.registry import Registry

PROFILERS = Registry(
    "profiler",
    {
        "static": "profilers.static:StaticProfiler",
        "measured": "profilers.measured:MeasuredProfiler",
        "segments": "profilers.segments:SegmentsProfiler",
    },
)
