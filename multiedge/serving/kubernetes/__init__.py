"""The controller of `HeteroInferenceService`, a resource of Kubernetes: a raw model becomes a service on chosen hardware.

`spec` and `status` are the resource as values, `workers` the pods that belong to it, `message` what a worker tells. `reconcile`
is the policy, a pure function of these; `manifests` writes the pods that it asks for. The effects are at the edge: `operator`
(watches, on kopf), `cluster` (requests to the API server), `reports` (the messages of workers), and `controller`, which
connects them. `reporter` is the worker's side.
"""
