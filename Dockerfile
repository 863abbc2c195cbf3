# The runtime image by a container engine, for those who prefer one; `lading image base` needs none.
# Bundles are put on it by `lading image build IMAGE`, or pulled at the start by `lading serve REF`.
#   docker build -t registry.example.com/lading:1 .
FROM docker.io/library/python:3.11-slim AS build
WORKDIR /src
COPY requirements/serve.txt pyproject.toml README.md LICENSE ./
COPY src ./src
RUN pip install --no-cache-dir --no-compile --target /opt/lading/lib -r requirements/serve.txt \
 && pip install --no-cache-dir --no-compile --no-deps --target /opt/lading/lib . \
 && python -m compileall -q --invalidation-mode unchecked-hash -s /opt/lading/lib -p /opt/lading/lib /opt/lading/lib

FROM docker.io/library/python:3.11-slim
COPY --from=build /opt/lading/lib /opt/lading/lib
RUN printf '#!/usr/local/bin/python3\nimport sys\nfrom lading.cli import main\nsys.exit(main())\n' >/usr/local/bin/lading \
 && chmod 0755 /usr/local/bin/lading
ENV PYTHONPATH=/opt/lading/lib PYTHONDONTWRITEBYTECODE=1 ORT_DISABLE_TELEMETRY=1 LADING_HOST=0.0.0.0
USER 65532:65532
EXPOSE 8000 8001
ENTRYPOINT ["lading"]
CMD ["serve"]
