# The page on CPUs alone, for any user and a read-only file system: deploy/compose.yaml runs it so.
FROM python:3.11-slim-bookworm AS packages
# The index that pytorch.org names for PyTorch on the CPU.
ARG TORCH_INDEX
COPY requirements-cpu.txt requirements.lock /tmp/
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --no-compile --no-deps --index-url "${TORCH_INDEX:?}" \
        -r /tmp/requirements-cpu.txt \
    && /opt/venv/bin/pip install --no-cache-dir --no-compile --no-deps --require-hashes -r /tmp/requirements.lock \
    && rm -rf /opt/venv/lib/python3.11/site-packages/torch/include \
        /opt/venv/lib/python3.11/site-packages/torch/test

FROM python:3.11-slim-bookworm
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
COPY packages.txt /tmp/
# hadolint ignore=DL3008
RUN apt-get update \
    && xargs apt-get install -y --no-install-recommends < /tmp/packages.txt \
    && rm -rf /var/lib/apt/lists/*
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY app.py ./
COPY purifier purifier
COPY assets assets
# What is written goes to /tmp: pictures while they are needed, and classifiers of the Hub.
ENV PATH=/opt/venv/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 GRADIO_SERVER_NAME=0.0.0.0
USER 65532:65532
EXPOSE 7860
HEALTHCHECK --start-period=120s --interval=30s --timeout=10s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/health', timeout=9)"]
CMD ["python", "app.py"]
