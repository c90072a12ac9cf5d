"""The science: values in, values out. No files, network, clock, environment or Dagster in this room."""
