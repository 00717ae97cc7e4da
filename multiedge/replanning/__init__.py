"""When and how to plan anew while a pipeline runs."""
