-- The ledger of offline_capi, for PostgreSQL. It is made when it is first opened; this is to make it by hand.
--
-- Its role needs a schema of its own, which its URL names by ?schema=offline_capi, and either owns it, so that it makes
-- and migrates its tables itself:
--   CREATE SCHEMA offline_capi AUTHORIZATION the_role;
-- or somebody else makes the tables (SET search_path TO offline_capi; and what follows) and grants what it does:
--   GRANT USAGE ON SCHEMA offline_capi TO the_role;
--   GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA offline_capi TO the_role;
--   GRANT USAGE ON ALL SEQUENCES IN SCHEMA offline_capi TO the_role;
-- After an update of offline_capi that changes the tables, their owner opens the ledger once: offline-capi status
-- Whoever only looks (offline-capi status, the pages in Airflow) needs USAGE on the schema and SELECT on its tables.

CREATE TABLE audit (
    id BIGSERIAL NOT NULL,
    at FLOAT NOT NULL,
    who VARCHAR(200) NOT NULL,
    action VARCHAR(40) NOT NULL,
    subject VARCHAR(200) NOT NULL,
    detail TEXT NOT NULL,
    run_id VARCHAR(160),
    PRIMARY KEY (id)
);

CREATE TABLE closed_day (
    upload VARCHAR(120) NOT NULL,
    day VARCHAR(10) NOT NULL,
    told_at VARCHAR(40) NOT NULL,
    run_id VARCHAR(160),
    debts TEXT NOT NULL,
    PRIMARY KEY (upload, day)
);

CREATE TABLE pace (
    scope VARCHAR(160) NOT NULL,
    not_before FLOAT NOT NULL,
    next_slot FLOAT NOT NULL,
    PRIMARY KEY (scope)
);

CREATE TABLE read_back (
    client VARCHAR(120) NOT NULL,
    pixel VARCHAR(32) NOT NULL,
    kind VARCHAR(20) NOT NULL,
    day VARCHAR(10) NOT NULL,
    read_at VARCHAR(40) NOT NULL,
    figures TEXT NOT NULL,
    PRIMARY KEY (client, pixel, kind, day)
);

CREATE TABLE request (
    id BIGINT NOT NULL,
    run_id VARCHAR(160) NOT NULL,
    sender_id INTEGER NOT NULL,
    client VARCHAR(120) NOT NULL,
    pixel VARCHAR(32) NOT NULL,
    state VARCHAR(12) NOT NULL,
    offline BOOLEAN NOT NULL,
    events INTEGER NOT NULL,
    digest BYTEA NOT NULL,
    posted_at FLOAT NOT NULL,
    answered_at FLOAT,
    tries INTEGER DEFAULT '0' NOT NULL,
    code INTEGER,
    subcode INTEGER,
    trace_id VARCHAR(60),
    waiting_keys BYTEA,
    unconfirmed_since FLOAT,
    value_marks BYTEA,
    PRIMARY KEY (id)
);

CREATE TABLE run (
    id VARCHAR(160) NOT NULL,
    upload VARCHAR(120) NOT NULL,
    since VARCHAR(40) NOT NULL,
    until VARCHAR(40) NOT NULL,
    zone VARCHAR(60) NOT NULL,
    trigger VARCHAR(40) NOT NULL,
    started_at VARCHAR(40) NOT NULL,
    ended_at VARCHAR(40),
    status VARCHAR(20) NOT NULL,
    report TEXT,
    covered_since VARCHAR(40),
    debts TEXT,
    table_read TEXT,
    PRIMARY KEY (id)
);

CREATE TABLE run_part (
    run_id VARCHAR(160) NOT NULL,
    part VARCHAR(200) NOT NULL,
    tally TEXT NOT NULL,
    PRIMARY KEY (run_id, part)
);

CREATE TABLE segment (
    id BIGINT NOT NULL,
    keys BIGINT NOT NULL,
    oldest BIGINT NOT NULL,
    newest BIGINT NOT NULL,
    fences BYTEA NOT NULL,
    filter BYTEA NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE segment_block (
    id BIGINT NOT NULL,
    keys BYTEA NOT NULL,
    owners BYTEA NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE sender (
    id SERIAL NOT NULL,
    run_id VARCHAR(160) NOT NULL,
    host VARCHAR(120) NOT NULL,
    pid INTEGER NOT NULL,
    pid_started VARCHAR(40) NOT NULL,
    lease_until FLOAT NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE source_mark (
    upload VARCHAR(120) NOT NULL,
    mark TEXT NOT NULL,
    run_id VARCHAR(160) NOT NULL,
    written_at VARCHAR(40) NOT NULL,
    PRIMARY KEY (upload)
);

CREATE TABLE source_shape (
    upload VARCHAR(120) NOT NULL,
    client VARCHAR(120) NOT NULL,
    shapes TEXT NOT NULL,
    written_at VARCHAR(40) NOT NULL,
    PRIMARY KEY (upload, client)
);

CREATE TABLE offline_capi_version (
    version_num VARCHAR(32) NOT NULL,
    PRIMARY KEY (version_num)
);

CREATE INDEX audit_action ON audit (action, at);

CREATE INDEX request_run ON request (run_id);

CREATE INDEX request_waiting ON request (id) WHERE waiting_keys IS NOT NULL;

CREATE INDEX run_started ON run (started_at);

CREATE INDEX run_upload ON run (upload, started_at);

CREATE VIEW sent_requests AS SELECT request.id AS request_id, request.run_id AS run_id, run.upload AS upload, run.since AS since, run.until AS until, request.client AS client, request.pixel AS pixel, request.state AS state, request.events AS events, request.tries AS tries, request.code AS code, request.subcode AS subcode, request.trace_id AS trace_id, request.posted_at AS posted_at, request.answered_at AS answered_at FROM request LEFT JOIN run ON run.id = request.run_id WHERE request.tries > 0;

INSERT INTO offline_capi_version (version_num) VALUES ('0011');
