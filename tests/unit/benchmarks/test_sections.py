"""The sentences and tables of single benchmarks, on figures whose result is known."""

from benchmarks import auto_choice, fleet, hops, job, load, memory, pipeline, profiling, servers, split, workflows
from benchmarks.record import Figure, Row
from tests.builders.records import record


def test_split_compares_with_the_time_to_copy_the_file():
    times = {"multiedge, linked": 0.2, "onnx.utils.extract_model": 3.0, "cp": 0.1}
    rows = [Row({"contender": name}, {"seconds": Figure(seconds)}) for name, seconds in times.items()]
    shown = split.section(record_of(split, rows, model="vit.onnx", parts=3))
    assert shown.startswith("To cut vit.onnx into 3 linked parts takes 2.0 times as long as to copy the file")
    assert "`onnx.utils.extract_model` takes 30.0 times as long" in shown


def test_split_says_nothing_of_a_contender_that_failed():
    rows = [
        Row({"contender": "multiedge, linked"}, {"seconds": Figure(0.2)}),
        Row({"contender": "onnx.utils.extract_model"}, failure="no room"),
        Row({"contender": "cp"}, {"seconds": Figure(0.1)}),
    ]
    first = split.section(record_of(split, rows, model="vit.onnx", parts=3)).split("\n\n")[0]
    assert first == "To cut vit.onnx into 3 linked parts takes 2.0 times as long as to copy the file."


def test_job_gives_the_range_of_speed_ups():
    rows = [Row({"model": name}, {"speed_up": Figure(ratio)}) for name, ratio in (("a", 1.5), ("b", 1.9))]
    assert "answer 1.50 to 1.90 times as many items" in job.section(record_of(job, rows))


def test_auto_choice_gives_the_worst_ratio_and_the_gain_of_all_stages():
    rows = [
        Row(
            {"model": "a", "stage": 1, "among": among, "chosen": "x float32", "best": "y float32"},
            {"reference_s": Figure(2.0), "chosen_s": Figure(chosen), "best_s": Figure(0.5), "ratio": Figure(chosen / 0.5)},
        )
        for among, chosen in (("all", 0.5), ("float32", 0.51))
    ]
    shown = auto_choice.section(record_of(auto_choice, rows, stages=1))
    assert "On 1 stages" in shown
    assert "at most 1.020 times as long as the best" in shown
    assert "4.00 times among all precisions, 3.92 times with float32 alone as fast as with onnxruntime." in shown


def test_load_gives_the_largest_error_before_and_at_pace():
    rows = [
        Row(
            {"load_percent": share, "percentile": "p99", "items": 700},
            {"latency_s": Figure(0.3), "error": Figure(error), "error_at_pace": Figure(error / 2)},
        )
        for share, error in ((50, 0.02), (80, -0.12))
    ]
    shown = load.section(record_of(load, rows))
    assert "before the run are within 12.0% of the run's, and within 6.0% (the aim: 10%)" in shown
    assert "80% p99" in shown


def test_load_simulates_the_stages_that_it_runs():
    _, plan = load.planned(load.fleet())
    assert plan.estimate.bottleneck_s == 0.048
    assert len(plan.stages) == len(load.STAGES)


def test_pipeline_gives_the_share_of_the_limit_with_its_spread():
    figures = {"to_limit": Figure(0.99, 0.9, 1.0), "to_two_threads": Figure(1.1), "fps": Figure(3.5)}
    errors = {"prediction_error": Figure(0.3), "prediction_error_at_pace": Figure(0.02)}
    rows = [
        Row({"model": "a", "case": "two devices", "turns": 24}, {**figures, **errors}),
        Row({"model": "a", "case": "three devices", "turns": 24}, {**errors, "prediction_error_at_pace": Figure(0.07)}),
        Row({"model": "b"}, failure="no time was left"),
    ]
    shown = pipeline.section(record_of(pipeline, rows))
    assert "two stages on two cores reach 99% (the aim: 98%)" in shown
    assert "99.0 (90.0 to 100.0)" in shown
    assert "predictions are wrong by 2.0% to 7.0%" in shown
    assert "| b " not in shown


def test_pipeline_gives_what_it_has_when_the_time_is_over(monkeypatch):
    now = iter([0.0, 0.0, 0.0, 95.0])
    monkeypatch.setattr(pipeline.time, "monotonic", lambda: next(now))
    monkeypatch.setattr(pipeline, "measure", lambda model, until_s: [Row({"model": model, "until": until_s})])
    rows = pipeline.measure_all(["a", "b"], 100.0)
    assert [(row.case, row.failure) for row in rows] == [
        ({"model": "a", "until": 50.0}, ""),
        ({"model": "b"}, "no time was left"),
    ]


def test_profiling_gives_the_range_of_median_errors():
    rows = [
        Row({"model": name, "nodes": 9}, {"segment_error": Figure(error), "drift": Figure(0.0)})
        for name, error in (("a", 0.013), ("b", 0.064))
    ]
    assert "median error of 1.3% to 6.4%, by model." in profiling.section(record_of(profiling, rows))


def test_hops_say_what_the_processors_allow_where_their_time_was_measured():
    rows = [
        Row({"executor": "processes", "nbytes": size}, {"full_s": Figure(5e-5), "cpu_s": Figure(spent_s)})
        for size, spent_s in zip(hops.SIZES, (3e-5, 9.6e-5), strict=True)
    ]
    taken = record_of(hops, rows)
    assert taken.origin.machine["cores"] == 2
    assert "spend 30 and 96 of processor time on it, so 2 cores allow 15 and 48 at best." in hops.section(taken)
    unknown = [Row(row.case, {"full_s": row.figures["full_s"]}) for row in rows]
    assert "processor time" not in hops.section(record_of(hops, unknown))


def test_hops_have_a_line_for_each_executor_and_a_column_for_each_size():
    rows = [
        Row({"executor": name, "nbytes": size}, {"alone_s": Figure(2e-4), "full_s": Figure(5e-5)})
        for name in ("processes", "ray")
        for size in hops.SIZES
    ]
    shown = hops.section(record_of(hops, rows))
    assert "16 bytes 50 (the aim: 25) and 600,000 bytes 50 (the aim: 40)" in shown
    assert [line.split()[1] for line in shown.splitlines()[-2:]] == ["processes", "ray"]
    assert shown.splitlines()[-1].split("|")[2:-1] == [
        "         50 ",
        "         200 ",
        "              50 ",
        "              200 ",
    ]


def record_of(module, rows, **settings):
    kept = record(rows, module.BENCHMARK.measures, module.BENCHMARK.name)
    return type(kept)(**{**vars(kept), "settings": settings})


def test_memory_counts_the_parts_within_the_aim_and_names_the_largest_error():
    rows = [
        Row({"model": "a", "parts": 2, "part": part}, {"planned_bytes": Figure(planned), "error": Figure(error)})
        for part, planned, error in ((1, 2.0**20, 0.02), (2, 2.0**21, -0.2))
    ]
    rows.append(Row({"model": "a", "parts": 2, "part": 1, "backend": "mnn"}, {"error": Figure(0.01)}))
    limits = [
        Row({"model": "a", "parts": parts, "part": memory.LIMIT}, {"used": Figure(used), "faults": Figure(faults)})
        for parts, used, faults in ((2, 0.9, 0), (3, 1.01, 0), (4, 0.9, 1))
    ]
    shown = memory.section(record_of(memory, rows + limits))
    assert "within 10% of the worker's peak for 1 of 2 with onnxruntime, 1 of 1 with mnn (0 of 0 parts of vit_b16" in shown
    assert "the largest peak is 25.0% above its plan" in shown
    assert "| a     | onnxruntime |     2 |    1 |          1.0 |" in shown
    assert "1 of 3 plans run without a fault" in shown


def test_fleet_compares_its_routes_and_lists_faults_and_many_nodes():
    rates = {
        fleet.FLEET: (9.5, {}),
        fleet.EMULATED: (10.0, {"fleet_over_it": Figure(0.95, 0.93, 0.97)}),
        fleet.BY_CALLER: (5.0, {"fleet_over_it": Figure(1.9)}),
    }
    routes = [
        Row(
            {"model": "a", "route": route, "share, %": 100, "items": 90},
            {
                "fps": Figure(rate),
                "wrong": Figure(0),
                "error": Figure(0.02),
                **beside,
            },
        )
        for route, (rate, beside) in rates.items()
    ]
    counts = {name: Figure(0) for name in ("lost", "twice", "out_of_order", "wrong")}
    rows = [
        Row({"model": "a", "deployed on": "x, y"}, {"deploy_s": Figure(2.5)}),
        *routes,
        Row({"fault": "node stopped", "items": 400}, {**counts, "pause_s": Figure(1.25), "recovery_s": Figure(0.64)}),
        Row({"nodes": 50, "stages": 11}, {"known_s": Figure(0.1), "plan_s": Figure(0.3), "hub_cpu_share": Figure(0.05)}),
    ]
    shown = fleet.section(record_of(fleet, rows))
    assert shown.startswith("Of all answers 0 differ from the whole model's, bit for bit.")
    assert "a was deployed in 2.5 s on x, y." in shown
    assert "a at 100 %: 0.95 (0.93 to 0.97) times the rate of the route 'emulated', turn by turn." in shown
    assert "a at 100 %: 1.90 times the rate of the route 'by the caller', turn by turn." in shown
    assert "| node stopped |   400 |    0 |" in shown
    assert "50 nodes: a hub that begins anew knew all after 0.10 s; their fleet and a plan of 11 stages took 0.30 s" in shown


def test_servers_compares_the_quickest_of_both_sides():
    seconds = {"our node (stream)": 2e-4, "our node (gRPC)": 6e-4, "MLServer (gRPC)": 9e-4, "Ray Serve (HTTP)": 3e-3}
    rows = [
        Row({"server": name, "nbytes": 16}, {"alone_s": Figure(each, each / 2, each * 2)}, details={"version": "1.2"})
        for name, each in seconds.items()
    ]
    failed = Row({"server": "kserve"}, failure="cannot install kserve: no network")
    shown = servers.section(record_of(servers, [*rows, failed]))
    assert "With 16 bytes MLServer (gRPC), the quickest of the others, takes 4.5 times as long as our node (stream)." in shown
    assert "Versions: MLServer 1.2, Ray Serve 1.2." in shown
    assert "| our node (stream)    |       200 (100 to 400) |" in shown
    assert "kserve" not in shown


def test_workflows_give_the_largest_errors_of_p99_for_each_kind_of_work():
    def row(work: str, percentile: str, error: float) -> Row:
        figures = {"latency_s": 0.3, "simulated_s": 0.2, "simulated_error": error, "at_pace_s": 0.3, "at_pace_error": error / 2}
        case = {"workflow": "video", "work": work, "load_percent": 50, "percentile": percentile, "items": 300}
        return Row(case, {name: Figure(value) for name, value in figures.items()})

    rows = [row("waits", "p50", 0.5), row("waits", "p99", -0.04), row("waits", "p99", 0.02), row("computes", "p99", 0.08)]
    shown = " ".join(workflows.section(record_of(workflows, rows)).split())
    assert "Where stages compute, it is 8.0% off at most, 4.0% at pace." in shown
    assert "Where stages wait, it is 4.0% off at most, 2.0% at pace." in shown
    assert "Where stages compute" not in workflows.section(record_of(workflows, rows[:3]))


def test_the_waiting_workflows_name_functions_in_place_of_models():
    for text in workflows.WORKFLOWS.values():
        waiting = workflows.waiting(text)
        assert ".onnx" not in waiting
        assert "batch" not in waiting
