# Build: docker build -t emoseek .          (CPU)
# Run:   docker run -p 127.0.0.1:7860:7860 -e EMOSEEK_API_KEY=… -v emoseek:/var/lib/emoseek emoseek

FROM python:3.11-slim AS build
ARG EXTRA=cpu
# Where PyTorch's CPU build is; it counts as newer than PyPI's CUDA build of the same version.
# For a GPU: --build-arg EXTRA=gpu --build-arg TORCH_INDEX=
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /srv/emoseek
RUN python -m venv .venv
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY app app
COPY index index
COPY migrations migrations
COPY alembic.ini ./
RUN .venv/bin/pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} \
        -c constraints.txt -e ".[$EXTRA]"

FROM python:3.11-slim
RUN useradd --system --create-home --home-dir /var/lib/emoseek emoseek
COPY --from=build /srv/emoseek /srv/emoseek
# The working directory is the volume: result paths in answers are relative to it.
WORKDIR /var/lib/emoseek
USER emoseek
ENV PATH=/srv/emoseek/.venv/bin:$PATH \
    EMOSEEK_HOST=0.0.0.0 \
    EMOSEEK_DATA_DIR=/var/lib/emoseek/data \
    EMOSEEK_OUTPUTS_DIR=/var/lib/emoseek/outputs
VOLUME /var/lib/emoseek
EXPOSE 7860
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ.get('EMOSEEK_PORT', 7860)}/healthz\", timeout=2)"]
CMD ["emoseek", "serve"]
