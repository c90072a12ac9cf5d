# neuron_atlas in one image, for the code location, the webserver and the daemon. torch comes from the default package index;
# for a smaller image without CUDA, or another CUDA, give the index of torch's own builds:
#   docker compose build --build-arg TORCH_INDEX=...
FROM python:3.11-slim

ARG TORCH_INDEX=
WORKDIR /opt/neuron_atlas
COPY pyproject.toml constraints.txt README.md LICENSE dagster.yaml ./
COPY neuron_atlas neuron_atlas
RUN pip install --no-cache-dir -c constraints.txt ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} .

# The Dagster instance and the workspace that points to the code container.
COPY dagster-postgres.yaml /opt/dagster/dagster.yaml
RUN printf 'load_from:\n  - grpc_server:\n      host: code\n      port: 4000\n      location_name: neuron_atlas\n' \
      > /opt/dagster/workspace.yaml \
 && useradd --create-home --uid 1000 atlas \
 && mkdir /data && chown -R atlas /data /opt/dagster
ENV DAGSTER_HOME=/opt/dagster
USER atlas
