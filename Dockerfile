# Stage one builds the wheel; stage two holds Python, the wheel and its dependencies, and nothing else.
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md constraints.txt ./
COPY gateway gateway
# pip takes the versions that it builds with from one variable, from version 25.3 on from the other.
RUN PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
    pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . && cp constraints.txt /wheels

FROM python:3.13-slim
# A fixed uid, so that the files of a volume keep their owner from one image to the next.
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /var/lib/gateway gateway \
 && install -d -m 0755 /etc/gateway \
 && install -d -m 0700 -o gateway -g gateway /var/lib/gateway
# Installed by root and compiled here: the user who runs it can write neither the code nor a cache beside it.
# EXTRAS=[aws] adds what AWS KMS needs.
ARG EXTRAS=
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --compile --constraint /wheels/constraints.txt "$(echo /wheels/*.whl)$EXTRAS"
USER 10001:10001
WORKDIR /var/lib/gateway
# The environment wins over the configuration file, so the volume and the health check always fit what runs.
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TYK_GW_GATEWAY_DATADIR=/var/lib/gateway \
    TYK_GW_CONTROLAPIPORT=9696
VOLUME /var/lib/gateway
EXPOSE 8443
STOPSIGNAL SIGTERM
# The control port stays on the container's loopback; the slim image has Python, not curl.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["python", "-c", "\
import os, ssl, urllib.request as r\n\
for scheme in ('http', 'https'):  # the latter with gateway.control_tls\n\
    try:\n\
        r.urlopen('%s://127.0.0.1:%s/hello' % (scheme, os.environ['TYK_GW_CONTROLAPIPORT']), timeout=1,\n\
                  context=ssl._create_unverified_context())\n\
        break\n\
    except OSError as error:\n\
        if 'CERTIFICATE_REQUIRED' in str(error) or 'HANDSHAKE_FAILURE' in str(error):\n\
            break  # control_api_use_mutual_tls: it answers, though not to us\n\
        failure = error\n\
else:\n\
    raise failure\n"]
ENTRYPOINT ["gateway"]
CMD ["serve"]
