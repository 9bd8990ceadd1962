"""The answer: how many labelled examples, by which method, and how sure that is. From records alone."""
