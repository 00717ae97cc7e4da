from multiedge.executors.pipeline import planned_bytes


def test_what_a_plan_expects_is_added_up_by_device():
    stages = [
        {"device": "a", "memory_bytes": 10},
        {"device": "b", "replicas": ["c"], "memory_bytes": 5},
        {"device": "a", "memory_bytes": 2},
    ]
    assert planned_bytes({"stages": stages}) == {"a": 12, "b": 5, "c": 5}
    assert planned_bytes({}) == {}
