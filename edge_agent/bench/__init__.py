"""What `edge-agent bench` measures: workloads, the references beside them, and the form of the results."""
