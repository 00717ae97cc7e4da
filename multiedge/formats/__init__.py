"""Values as files: devices, plans, profiles and traces.

`documents` loads JSON and YAML, `fields` is the decoder that turns them into typed values; errors name file and place.
"""
