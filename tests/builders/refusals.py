"""What a call refuses, for properties of the kind: any input is read or refused in one line."""

import copy

from hypothesis import strategies as st

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers() | st.none(), inner, max_size=4),
    max_leaves=12,
)
"""What a parser of JSON or YAML can leave, and more."""


def with_one_value_changed(data):
    """A strategy of copies of JSON data in which one value, at any depth, is another or its key is missing."""
    return st.tuples(st.sampled_from(_places(data)), st.just(_REMOVED) | JSON_VALUES).map(
        lambda change: _changed(data, *change)
    )


_REMOVED = object()


def _places(data, above=()):
    entries = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    below = [place for key, value in entries for place in _places(value, (*above, key))]
    return ([above] if above else []) + below


def _changed(data, place, value):
    data = copy.deepcopy(data)
    holder = data
    for key in place[:-1]:
        holder = holder[key]
    if value is _REMOVED:
        del holder[place[-1]]
    else:
        holder[place[-1]] = value
    return data


def refusal(read, error):
    """The message of the error of this class that `read` raises; None if it returns."""
    try:
        read()
    except error as failure:
        return str(failure)
    return None
