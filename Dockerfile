# morphmlp on the CPU, without a compiler or CUDA. GPUs: docs/install.md.
#
#   docker build --tag morphmlp .
#   docker run --rm --shm-size 1g --volume "$PWD:/work" --user "$(id -u):$(id -g)" morphmlp train my_videos --out runs/mine
#
# Decoding processes hand clips over through /dev/shm, of which Docker gives 64 MB: `--shm-size 1g` makes it faster.
# Without it clips go through pipes, and nothing fails.
FROM python:3.11-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src src
# PyTorch from its index of builds for the CPU, which need 200 MB instead of some gigabytes.
RUN python -m venv /opt/morphmlp \
    && /opt/morphmlp/bin/pip install --no-cache-dir --disable-pip-version-check \
        --extra-index-url https://download.pytorch.org/whl/cpu ".[serve]"

FROM python:3.11-slim
COPY --from=build /opt/morphmlp /opt/morphmlp
# A home that any --user may write: matplotlib and torch keep caches there.
RUN useradd --create-home --uid 1000 morphmlp && mkdir -m 1777 /work
ENV PATH=/opt/morphmlp/bin:$PATH MPLCONFIGDIR=/tmp/matplotlib TORCHINDUCTOR_CACHE_DIR=/tmp/torchinductor
USER 1000:1000
WORKDIR /work
ENTRYPOINT ["morphmlp"]
CMD ["--help"]
