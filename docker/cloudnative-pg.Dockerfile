# The extension alone, as an image volume of CloudNativePG (PostgreSQL 18 and later, which looks for
# extensions in the directories of extension_control_path and dynamic_library_path).
#
#   docker build -f docker/cloudnative-pg.Dockerfile --build-arg PG=18 -t insula-extension:18 .
ARG PG=18
FROM postgres:${PG}-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends g++ make postgresql-server-dev-${PG_MAJOR}
COPY . /insula
RUN make -C /insula install DESTDIR=/out PG_CONFIG=/usr/lib/postgresql/${PG_MAJOR}/bin/pg_config && \
    mkdir -p /image/lib /image/share && \
    cp /out/usr/lib/postgresql/${PG_MAJOR}/lib/insula.so /image/lib/ && \
    cp -R /out/usr/share/postgresql/${PG_MAJOR}/extension /image/share/

FROM scratch
COPY --from=build /image/ /
COPY LICENSE /licenses/insula/LICENSE
