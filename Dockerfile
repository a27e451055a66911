# One image for every part that is ours: the code server, the webserver, the daemon, the app, and Spark's master,
# workers and Connect server, so that Spark, Python and the jars are of one version everywhere.
FROM python:3.11-slim-bookworm

RUN apt-get update \
    && apt-get install -y --no-install-recommends curl netcat-openbsd openjdk-17-jre-headless \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin stockpick \
    && python -m venv /opt/stockpick
ENV PATH=/opt/stockpick/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

# The libraries and the command. There are no packages here yet: the code comes last and is found by PYTHONPATH, so that
# a change of it installs nothing again.
WORKDIR /app
COPY setup.py constraints.txt ./
RUN pip install --no-cache-dir --constraint constraints.txt . && rm -rf build *.egg-info

# The jars behind s3a:// and Delta tables, fetched by the Ivy that pyspark ships: nothing is fetched when it runs.
ENV SPARK_HOME=/opt/stockpick/lib/python3.11/site-packages/pyspark
COPY stockpick_assets/services/s3a.xml docker/spark/delta.xml /tmp/ivy/
RUN for list in s3a delta; do \
        java -jar "$SPARK_HOME"/jars/ivy-*.jar -ivy /tmp/ivy/$list.xml -cache /tmp/ivy/cache -types jar \
            -retrieve "$SPARK_HOME/jars/[artifact]-[revision](-[classifier]).[ext]" || exit 1; \
    done \
    && rm -rf /tmp/ivy

COPY docker/with-secrets docker/daemon-healthy /usr/local/bin/
COPY docker/spark/start /usr/local/bin/stockpick-spark
COPY docker/spark/spark-defaults.conf /etc/stockpick/
COPY docker/dagster.yaml workspace.yaml /etc/stockpick/dagster/
COPY .streamlit .streamlit
COPY stockpick_assets stockpick_assets
COPY streamlit_app streamlit_app
RUN python -m compileall -q stockpick_assets streamlit_app
ENV PYTHONPATH=/app \
    DAGSTER_HOME=/etc/stockpick/dagster

USER 10001
ENTRYPOINT ["with-secrets"]
CMD ["stockpick", "--help"]
