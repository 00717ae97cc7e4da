"""The front end: a request for a model is answered by one of its deployment's plans, within the bounds that it states."""
