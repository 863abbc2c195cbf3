# The runtime image by a container engine, for those who prefer one; `lading image base` needs none.
# Bundles are put on it by `lading image build IMAGE`, or pulled at the start by `lading serve REF`.
#   docker build -t registry.example.com/lading:1 .
# Another base needs Python 3.11 or newer with pip, and /bin/sh:
#   docker build --build-arg BASE=registry.example.com/python:3.11 …
# A site with a mirror of its own gives pip's settings, none of which stays in the image:
#   docker build --build-arg PIP_INDEX_URL=https://… …
#   buildah bud --volume /srv/wheels:/wheels:ro --build-arg PIP_NO_INDEX=1 --build-arg PIP_FIND_LINKS=/wheels …
ARG BASE=docker.io/library/python:3.11-slim

FROM ${BASE} AS build
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_NO_INDEX
ARG PIP_FIND_LINKS
ARG PIP_CERT
WORKDIR /src
COPY requirements/image.txt pyproject.toml README.md LICENSE ./
# The libraries first: a new lading is then a small layer of its own.
RUN python3 -m pip install --no-cache-dir --no-compile --target /opt/libraries -r image.txt \
 && python3 -m compileall -q --invalidation-mode unchecked-hash -s /opt/libraries -p /opt/lading/lib /opt/libraries
COPY src ./src
# The first line of the program says for which Python `lading image build` makes environments.
RUN python3 -m pip install --no-cache-dir --no-compile --no-deps --target /opt/itself . \
 && python3 -m compileall -q --invalidation-mode unchecked-hash -s /opt/itself -p /opt/lading/lib /opt/itself \
 && program="$(python3 -c 'import os, sys; print(os.path.realpath(sys.executable))')" \
 && printf '#!%s\nimport sys\nfrom lading.cli import main\nsys.exit(main())\n' "$program" >/opt/program \
 && chmod 0755 /opt/program

FROM ${BASE}
COPY --from=build /opt/libraries /opt/lading/lib
COPY --from=build /opt/itself /opt/lading/lib
COPY --from=build /opt/program /usr/local/bin/lading
ENV PYTHONPATH=/opt/lading/lib PYTHONDONTWRITEBYTECODE=1 ORT_DISABLE_TELEMETRY=1 LADING_HOST=0.0.0.0
USER 65532:65532
EXPOSE 8000 8001
ENTRYPOINT ["lading"]
CMD ["serve"]
