# One image for every command of tieout. Built twice-staged: what installs is not in what runs.
FROM python:3.11-slim AS build
WORKDIR /build
COPY requirements-setup.lock requirements.lock ./
RUN pip install --no-cache-dir --require-hashes --no-deps -r requirements-setup.lock \
    && python -m venv --without-pip /venv \
    && uv pip sync --no-cache --python /venv/bin/python --require-hashes requirements.lock
# What compiles the hot path (setup.py): mypyc, of the locked tools, and a C compiler.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev
COPY requirements-dev.lock ./
RUN python -m venv /tools && uv pip sync --no-cache --python /tools/bin/python --require-hashes requirements-dev.lock
COPY . .
RUN TIEOUT_COMPILED=1 PATH=/tools/bin:$PATH /tools/bin/python -m pip wheel --no-deps --no-build-isolation -w /wheels . \
    && uv pip install --no-cache --python /venv/bin/python --no-deps /wheels/*.whl

FROM python:3.11-slim
COPY --from=build /venv /venv
RUN useradd --create-home --home-dir /var/lib/tieout tieout
USER tieout
WORKDIR /var/lib/tieout
# Lines of the log come out as they are written.
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
ENTRYPOINT ["tieout"]
CMD ["--help"]
