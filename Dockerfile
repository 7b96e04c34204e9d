# offline_capi with the command line, the sandbox and Airflow 3.3: see docs/how-to/containers.md.
#   docker build --tag offline-capi .
#   docker build --build-arg EXTRAS=excel,mysql --tag offline-capi .     # the command line alone, without Airflow
#   docker build --target chart --tag offline-capi-airflow .             # for Airflow's official Helm chart
ARG PYTHON=3.11-slim-bookworm
ARG AIRFLOW=3.3.2

# A compiler is needed for the SHA-256 kernel and stays in this stage.
FROM python:${PYTHON} AS build
ARG EXTRAS=airflow,sandbox,warehouses
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY offline_capi ./offline_capi
ENV PIP_CONSTRAINT=/src/constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv \
    && /opt/venv/bin/python -m pip wheel --no-deps --wheel-dir /src/dist . \
    && /opt/venv/bin/python -m pip install "$(ls /src/dist/*.whl)[${EXTRAS}]" \
    && /opt/venv/bin/python -I -c 'import offline_capi.runtime._sha256' \
    && /opt/venv/bin/offline-capi version

# The chart starts its containers through the entrypoint of Airflow's own image.
FROM apache/airflow:${AIRFLOW}-python3.11 AS chart
ARG AIRFLOW
COPY --from=build /src/dist /tmp/dist
RUN pip install --no-cache-dir "apache-airflow==${AIRFLOW}" "$(ls /tmp/dist/*.whl)[warehouses]"

FROM python:${PYTHON}
# Nothing is written outside of this folder and /tmp: the root file system may be read-only.
RUN useradd --uid 50000 --gid 0 --home-dir /var/lib/offline_capi --create-home offline_capi \
    && mkdir -p /opt/offline_capi/dags \
    && chmod -R g=u /var/lib/offline_capi
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/var/lib/offline_capi \
    AIRFLOW_HOME=/var/lib/offline_capi/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/offline_capi/dags \
    AIRFLOW__CORE__LOAD_EXAMPLES=False
USER 50000:0
WORKDIR /opt/offline_capi
VOLUME ["/var/lib/offline_capi"]
ENTRYPOINT ["offline-capi"]
CMD ["--help"]
