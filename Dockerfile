# The demo for those who prefer Docker; nothing of the project needs it.
#
#     docker build --tag order-saga . && docker run --rm --init -it order-saga
#
# It needs the package registry while it runs, as `cdk deploy` packs the functions with pip.
# To pin the base beyond its tag: `docker buildx imagetools inspect python:3.13.14-slim-trixie` shows its digest;
# write FROM python:3.13.14-slim-trixie@sha256:<digest>.
FROM python:3.13.14-slim-trixie

# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends make \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1000 saga \
 && install --directory --owner=saga --group=saga /home/saga/order-saga
USER 1000
WORKDIR /home/saga/order-saga
ENV PIP_NO_CACHE_DIR=1

# What is installed changes seldom: a layer of its own.
COPY --chown=saga:saga Makefile requirements.txt requirements-dev.txt constraints.txt package.json package-lock.json ./
COPY --chown=saga:saga lambdas/saga_runtime/requirements.txt lambdas/saga_runtime/
COPY --chown=saga:saga examples/ticket_sale/lambdas/requirements.txt examples/ticket_sale/lambdas/
RUN make install && rm -rf ~/.npm

COPY --chown=saga:saga . .
# The copies may be newer than what was installed from the very same files.
RUN make --touch install

CMD ["make", "demo"]
