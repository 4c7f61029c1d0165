# Two serving images from one file: `docker build --target cpu .` and `docker build --target gpu .`.
# Inside a container the server listens on every address, so it starts only with keys (ENGRAM_API_KEYS_FILE),
# or with ENGRAM_ALLOW_ANONYMOUS=1 where the published address decides who gets there.
# A build stage makes the environment from its lock; the serving stage copies it and holds no compiler and no torch.

FROM python:3.11.14-slim-bookworm AS build-cpu
COPY requirements/serve.txt /tmp/requirements.txt
RUN python -m venv /opt/engram \
 && /opt/engram/bin/pip install --no-cache-dir --disable-pip-version-check -r /tmp/requirements.txt

# ONNX Runtime 1.31 is built against CUDA 13.0 and cuDNN 9. This base brings both, and Python 3.12.
FROM nvidia/cuda:13.0.1-cudnn-runtime-ubuntu24.04 AS python-cuda
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*

FROM python-cuda AS build-gpu
COPY requirements/gpu.txt /tmp/requirements.txt
RUN python3 -m venv /opt/engram \
 && /opt/engram/bin/pip install --no-cache-dir --disable-pip-version-check -r /tmp/requirements.txt

FROM python:3.11.14-slim-bookworm AS cpu
COPY --from=build-cpu /opt/engram /opt/engram
COPY server /app/server
COPY model_repository /app/model_repository
COPY LICENSE /app/LICENSE
RUN install --directory --owner 10001 --group 10001 /var/lib/engram
WORKDIR /app
ENV PATH=/opt/engram/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    ENGRAM_HOST=0.0.0.0 ENGRAM_PORT=8000 ENGRAM_DEVICE=cpu ENGRAM_BATCH_FILE=/var/lib/engram/batches.sqlite3
EXPOSE 8000 8001 8002
USER 10001:10001
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"ENGRAM_PORT\"]}/health/ready', timeout=4)"]
ENTRYPOINT ["python", "-m", "server"]

FROM python-cuda AS gpu
COPY --from=build-gpu /opt/engram /opt/engram
COPY server /app/server
COPY model_repository /app/model_repository
COPY LICENSE /app/LICENSE
RUN install --directory --owner 10001 --group 10001 /var/lib/engram
WORKDIR /app
ENV PATH=/opt/engram/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    ENGRAM_HOST=0.0.0.0 ENGRAM_PORT=8000 ENGRAM_DEVICE=cuda ENGRAM_BATCH_FILE=/var/lib/engram/batches.sqlite3
EXPOSE 8000 8001 8002
USER 10001:10001
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"ENGRAM_PORT\"]}/health/ready', timeout=4)"]
ENTRYPOINT ["python", "-m", "server"]
